#include "annuli/kernels/product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/product.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

at::ScalarType operand_type() {
  return bf16_is_fast() ? at::kBFloat16 : at::kFloat;
}

at::Tensor narrowed(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) return x;
  return is_host(x) ? cpu::narrowed(x) : x.to(at::kBFloat16);
}

at::Tensor operand(const at::Tensor& x) {
  // Which instructions are fast is asked of the host's processor, for tensors
  // on the host alone.
  if (!is_host(x)) return x.to(at::kBFloat16).to(at::kFloat);
  return bf16_is_fast() ? narrowed(x) : cpu::rounded(x);
}

void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
              bool accumulate) {
  ANNULI_CHECK(a.scalar_type() == b.scalar_type(), "{} times {}", words_of(a),
               words_of(b));
  ANNULI_CHECK(a.size(1) == b.size(0) && out.is_contiguous() &&
                   out.size(0) == a.size(0) && out.size(1) == b.size(1),
               "{} times {} into {}", words_of(a), words_of(b), words_of(out));
  if (a.scalar_type() == at::kBFloat16) {
    ANNULI_CHECK(is_host(a) && out.scalar_type() == at::kFloat,
                 "{} times {} into {}", words_of(a), words_of(b),
                 words_of(out));
    cpu::multiply_bf16(out, a, b, accumulate);
  } else if (accumulate) {
    out.addmm_(a, b);
  } else {
    at::mm_out(out, a, b);
  }
}

at::Tensor Matrix::operand() const {
  if (!rounded) return weight.detach();
  return kernels::operand((copy.defined() ? copy : weight).detach());
}

}  // namespace annuli::kernels

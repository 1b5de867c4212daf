#include "annuli/kernels/gemv.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/gemv.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

bool is_row_matrix(const at::Tensor& weight) {
  return weight.dim() == 2 && is_host(weight) &&
         (weight.scalar_type() == at::kFloat ||
          weight.scalar_type() == at::kBFloat16) &&
         weight.stride(1) == 1 && weight.stride(0) >= weight.size(1);
}

bool is_row_matrix(const CodedMatrix& codes) {
  const int64_t columns = codes.codes.size(1);
  const int64_t block = code_block(columns);
  return is_plain(codes.codes) && (block == columns || block % 32 == 0);
}

at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias) {
  ANNULI_CHECK(x.scalar_type() == at::kFloat && is_host(x), "x is {}",
               words_of(x));
  ANNULI_CHECK(x.size(-1) == weight.size(1), "{} columns for {}", x.size(-1),
               weight.size(1));
  return cpu::gemv(x, weight, bias);
}

}  // namespace annuli::kernels

#include "annuli/kernels/symmetric_product.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/symmetric_product.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

void multiply_symmetric(at::Tensor& out, const at::Tensor& a,
                        const at::Tensor& b) {
  ANNULI_CHECK(a.size(0) == b.size(1) && a.size(1) == b.size(0) &&
                   out.size(0) == a.size(0) && out.size(1) == a.size(0),
               "{} times {} into {}", words_of(a), words_of(b), words_of(out));
  is_plain(out) ? cpu::multiply_symmetric(out, a, b)
                : reference::multiply_symmetric(out, a, b);
}

}  // namespace annuli::kernels

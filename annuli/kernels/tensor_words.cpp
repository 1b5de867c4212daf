#include "annuli/kernels/tensor_words.h"

#include <c10/util/StringUtil.h>

namespace annuli::kernels {

std::string words_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "no tensor";
  return c10::str(tensor.is_contiguous() ? "" : "strided ",
                  tensor.scalar_type(), " ", tensor.sizes(), " on ",
                  tensor.device());
}

}  // namespace annuli::kernels

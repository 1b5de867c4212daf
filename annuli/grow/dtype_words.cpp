#include "annuli/grow/dtype_words.h"

#include "annuli/core/error.h"

namespace annuli::grow {

const char* torch_dtype(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return "float64";
    case at::kFloat:
      return "float32";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    default:
      ANNULI_CHECK(false, "weights of type {}", static_cast<int>(dtype));
      return "";
  }
}

std::optional<at::ScalarType> dtype_from_flag(std::string_view word) {
  if (word == "f32") return at::kFloat;
  if (word == "f64") return at::kDouble;
  if (word == "bf16") return at::kBFloat16;
  if (word == "f16") return at::kHalf;
  return std::nullopt;
}

}  // namespace annuli::grow

#include "annuli/model/number_types.h"

#include "annuli/core/error.h"

namespace annuli {

NumberTypes number_types(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return at::kFloat;
    case Precision::kFp64:
      return at::kDouble;
    case Precision::kBf16Mixed: {
      NumberTypes types = at::kFloat;
      types.products = at::kBFloat16;
      return types;
    }
    case Precision::kBf16:
      return at::kBFloat16;
    case Precision::kInt8Weights: {
      NumberTypes types = at::kBFloat16;
      types.coded = true;
      return types;
    }
  }
  ANNULI_CHECK(false, "no number types for precision {}",
               static_cast<int>(precision));
}

}  // namespace annuli

#include "annuli/core/error.h"

namespace annuli::detail {

void check_failed(const char* file, int line, const char* condition,
                  const std::string& message) {
  throw CheckFailure(fmt::format("{}:{}: {} does not hold: {}", file, line,
                                 condition, message));
}

}  // namespace annuli::detail

#include "annuli/core/tilde.h"

#include <cstdlib>

#include "annuli/core/error.h"

namespace annuli {

void refuse_tilde(const std::filesystem::path& path, std::string_view doing) {
  if (path.empty() || *path.begin() != "~") return;
  const char* home = std::getenv("HOME");
  user_error(
      "{} {}: '~' was not made the home folder, as a shell does where it "
      "stands without quotes; write {}",
      doing, path.string(),
      (std::filesystem::path(home == nullptr ? "/home/NAME" : home) /
       path.lexically_relative("~"))
          .string());
}

}  // namespace annuli

#include "annuli/core/say.h"

#include <cstdio>

#include "annuli/core/progress.h"

namespace annuli {

void say_text(std::string_view text) {
  erase_live_line();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace annuli

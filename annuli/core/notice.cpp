#include "annuli/core/notice.h"

#include <cstdio>
#include <mutex>
#include <set>

#include "annuli/core/quote.h"

namespace annuli {

void print_notice(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> printed;
  const std::lock_guard lock(mutex);
  if (!printed.insert(text).second) return;
  std::fflush(stdout);
  fmt::print(stderr, "note: {}\n", one_line(text));
}

}  // namespace annuli

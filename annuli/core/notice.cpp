#include "annuli/core/notice.h"

#include <cstdio>
#include <mutex>
#include <set>

#include "annuli/core/progress.h"
#include "annuli/core/quote.h"

namespace annuli {

namespace {

std::string& speaker() {
  static std::string name;
  return name;
}

void print_once(const char* kind, const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> printed;
  const std::lock_guard lock(mutex);
  const std::string line = fmt::format("{}: {}\n", kind, one_line(text));
  if (!printed.insert(line).second) return;
  erase_live_line();
  std::fflush(stdout);
  fmt::print(stderr, "{}", line);
}

}  // namespace

void name_speaker(const std::string& name) { speaker() = name; }

bool speaks_for_all() { return speaker().empty(); }

void print_notice(const std::string& text) {
  if (speaks_for_all()) print_once("note", text);
}

void print_warning(const std::string& text) {
  print_once("warning",
             speaks_for_all() ? text : fmt::format("{}: {}", speaker(), text));
}

}  // namespace annuli

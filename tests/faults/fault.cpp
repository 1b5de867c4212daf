#include "tests/faults/fault.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <utility>

namespace annuli::fault {
namespace {

constexpr std::array<std::pair<const char*, int>, 7> kErrors = {
    {{"EIO", EIO},
     {"ENOSPC", ENOSPC},
     {"EACCES", EACCES},
     {"ENOMEM", ENOMEM},
     {"EROFS", EROFS},
     {"EMFILE", EMFILE},
     {"EINTR", EINTR}}};

struct Orders {
  std::string folder{};
  std::array<bool, kNames.size()> chosen{};
  long at = 0;  // 0: never
  std::string action{};
  int error = 0;
  bool lasting = false;
};

const char* setting(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

// Whether `kind` is one of the words of `kinds`, which '+' joins.
bool names_kind(std::string_view kinds, std::string_view kind) {
  if (kinds == "all") return true;
  for (size_t begin = 0; begin <= kinds.size();) {
    const size_t end = std::min(kinds.find('+', begin), kinds.size());
    if (kinds.substr(begin, end - begin) == kind) return true;
    begin = end + 1;
  }
  return false;
}

Orders read_orders() {
  Orders orders{.folder = setting("ANNULI_FAULT_FOLDER")};
  const std::string text = setting("ANNULI_FAULT");
  const size_t first = text.find(':');
  const size_t second = text.rfind(':');
  if (first == second) return orders;
  for (size_t i = 0; i < kNames.size(); ++i) {
    orders.chosen[i] =
        names_kind(std::string_view(text).substr(0, first), kNames[i]);
  }
  orders.at = ::strtol(text.c_str() + first + 1, nullptr, 10);
  orders.action = text.substr(second + 1);
  orders.lasting = orders.action == "full" || orders.action == "short";
  for (const auto& [name, error] : kErrors) {
    if (!orders.action.starts_with(name)) continue;
    orders.error = error;
    orders.lasting = orders.action.ends_with('+');
  }
  return orders;
}

// Never destroyed: the program writes until its very end.
const Orders& orders() {
  static const Orders& read = *new Orders(read_orders());
  return read;
}

std::array<std::atomic<long>, kNames.size()> counts;
std::atomic<long> chosen_calls = 0;

bool is_below(const char* path) {
  const std::string& folder = orders().folder;
  if (folder.empty() || ::strncmp(path, folder.c_str(), folder.size()) != 0) {
    return false;
  }
  return path[folder.size()] == '/' || path[folder.size()] == 0;
}

void make_mark() {
  const char* path = setting("ANNULI_FAULT_FIRED");
  if (*path == 0) return;
  const long file =
      ::syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600);
  ::close(static_cast<int>(file));
}

void vanish() {
  const std::string folder = setting("ANNULI_FAULT_VANISHES");
  ::syscall(SYS_rename, folder.c_str(), (folder + ".gone").c_str());
}

// The call that was chosen, or one after it if the action lasts.
Turn take_action(Kind kind, bool first, size_t size) {
  const std::string& action = orders().action;
  if (first) make_mark();
  if (action == "kill-before") die();
  if (action == "kill-half") return {.size = size / 2, .die_after = true};
  if (action == "kill-after") return {.size = size, .die_after = true};
  if (action == "short") return {.size = (size + 1) / 2};
  if (action == "full") {
    const bool part = first && kind == kWrite && size > 1;
    return {.go = part, .size = size / 2, .error = ENOSPC};
  }
  if (action == "vanish") {
    vanish();
    return {.size = size};
  }
  return {.go = false, .error = orders().error};
}

__attribute__((destructor)) void write_counts() {
  const char* path = setting("ANNULI_FAULT_COUNTS");
  if (*path == 0) return;
  FILE* file = ::fopen(path, "w");
  if (file == nullptr) return;
  for (size_t i = 0; i < kNames.size(); ++i) {
    ::fprintf(file, "%s %ld\n", kNames[i], counts[i].load());
  }
  ::fclose(file);
}

}  // namespace

// By the path that the descriptor was opened by.
bool is_watched(int descriptor) {
  if (orders().folder.empty()) return false;
  char link[64];
  char path[PATH_MAX];
  ::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t length = ::readlink(link, path, sizeof(path) - 1);
  path[length < 0 ? 0 : length] = 0;
  return is_below(path);
}

bool is_watched(int folder, const char* path) {
  if (path[0] == '/') return is_below(path);
  return folder != AT_FDCWD && is_watched(folder);
}

Turn turn_of(Kind kind, size_t size) {
  ++counts[kind];
  if (!orders().chosen[kind]) return {.size = size};
  const long number = ++chosen_calls;
  const long at = orders().at;
  if (number < at || (number > at && !orders().lasting)) return {.size = size};
  return take_action(kind, number == at, size);
}

void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

long fail(int error) {
  errno = error;
  return -1;
}

long jump() {
  static std::atomic<unsigned> calls = 0;
  constexpr long kTenYears = 10L * 365 * 24 * 3600;
  if (*setting("ANNULI_FAULT_CLOCK") == 0) return 0;
  return calls++ % 2 == 0 ? kTenYears : -kTenYears;
}

}  // namespace annuli::fault

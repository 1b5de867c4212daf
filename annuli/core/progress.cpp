#include "annuli/core/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "annuli/core/text.h"

namespace annuli {
namespace {

bool is_drawable() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && term != nullptr &&
         std::string_view(term) != "dumb";
}

bool use_color() {
  const char* no_color = std::getenv("NO_COLOR");
  return no_color == nullptr || *no_color == '\0';
}

}  // namespace

std::string progress_line(const std::string& label, int64_t done, int64_t total,
                          ProgressUnit unit, double seconds, bool color) {
  const auto amount = [unit](int64_t n) {
    const auto number = static_cast<double>(n);
    return unit == ProgressUnit::kBytes ? format_bytes(number)
                                        : format_count(number);
  };
  if (total <= 0) return fmt::format("{}  {}", label, amount(done));
  done = std::clamp<int64_t>(done, 0, total);
  const double share = static_cast<double>(done) / static_cast<double>(total);
  constexpr size_t kWidth = 24;
  const auto filled = static_cast<size_t>(share * kWidth);
  std::string line =
      fmt::format("{}  [{}{}{}{}]  {:3.0f}%  {} of {}", label,
                  color ? "\033[32m" : "", std::string(filled, '#'),
                  color ? "\033[0m" : "", std::string(kWidth - filled, ' '),
                  100 * share, amount(done), amount(total));
  if (done > 0 && done < total) {
    line += "  ETA " + format_duration(seconds * (1 - share) / share);
  }
  return line;
}

Progress::Progress(std::string label, int64_t total, ProgressUnit unit)
    : label_(std::move(label)),
      total_(total),
      unit_(unit),
      visible_(is_drawable()) {}

Progress::~Progress() { finish(); }

void Progress::advance(int64_t amount) {
  done_ += amount;
  if (!visible_) return;
  const auto now = Clock::now();
  if (now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string line =
      progress_line(label_, done_, total_, unit_, seconds, use_color());
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::finish() {
  if (!std::exchange(drawn_, false)) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

}  // namespace annuli

#include "annuli/core/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <utility>

#include "annuli/core/notice.h"
#include "annuli/core/terminal.h"
#include "annuli/core/text.h"

namespace annuli {
namespace {

std::mutex& mutex() {
  static std::mutex one;
  return one;
}

// Whose line stands on the terminal now; null if none. Under the mutex.
const Progress*& drawn() {
  static const Progress* bar = nullptr;
  return bar;
}

void erase_locked() {
  if (std::exchange(drawn(), nullptr) == nullptr) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

std::string bar_of(double share, bool color) {
  constexpr size_t kWidth = 24;
  const auto filled = static_cast<size_t>(share * kWidth);
  return fmt::format("[{}{}{}{}]", color ? "\033[32m" : "",
                     std::string(filled, '#'), color ? "\033[0m" : "",
                     std::string(kWidth - filled, ' '));
}

}  // namespace

std::string to_text(const ProgressLine& line) {
  const auto amount = [&](int64_t n) {
    const auto number = static_cast<double>(n);
    return line.unit == ProgressUnit::kBytes ? format_bytes(number)
                                             : format_count(number);
  };
  const auto width = static_cast<size_t>(std::max(line.width, 0));
  if (line.total <= 0) {
    return fmt::format("{}  {}", line.label, amount(line.done))
        .substr(0, width);
  }
  const int64_t done = std::clamp<int64_t>(line.done, 0, line.total);
  const double share =
      static_cast<double>(done) / static_cast<double>(line.total);
  // All is done at 100 % only.
  // All is done at 100 % only.
  std::string behind =
      fmt::format("  {:3.0f}%  {} of {}", std::floor(100 * share), amount(done),
                  amount(line.total));
  if (line.seconds_left > 0 && done < line.total) {
    behind += "  ETA " + format_duration(line.seconds_left);
  }
  if (!line.note.empty()) behind += "  " + line.note;
  const std::string label = line.label + "  ";
  const size_t bar = bar_of(share, false).size();
  // A terminal too narrow for the bar shows the rest.
  if (label.size() + bar >= width) {
    return (label + behind.substr(2)).substr(0, width);
  }
  return label + bar_of(share, line.color) +
         behind.substr(0, width - label.size() - bar);
}

Progress::Progress(std::string label, int64_t total, ProgressUnit unit,
                   int64_t done)
    : label_(std::move(label)),
      total_(total),
      unit_(unit),
      before_(done),
      done_(done),
      visible_(speaks_for_all() && is_terminal(STDERR_FILENO)) {}

Progress::~Progress() { finish(); }

void Progress::draw() {
  const auto now = Clock::now();
  if (now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const auto made = static_cast<double>(done_ - before_);
  const auto left = static_cast<double>(total_ - done_);
  const std::string line =
      to_text({.label = label_,
               .done = done_,
               .total = total_,
               .unit = unit_,
               .seconds_left = made > 0 ? seconds * left / made : 0,
               .note = note_,
               .color = shows_color(STDERR_FILENO),
               .width = terminal_width(STDERR_FILENO) - 1});
  std::fflush(stdout);
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  drawn() = this;
}

void Progress::advance(int64_t amount) {
  if (!visible_) return;
  const std::lock_guard lock(mutex());
  done_ += amount;
  draw();
}

void Progress::note(const std::string& text) {
  if (!visible_) return;
  const std::lock_guard lock(mutex());
  note_ = text;
}

void Progress::finish() {
  if (!visible_) return;
  const std::lock_guard lock(mutex());
  if (drawn() == this) erase_locked();
}

void erase_live_line() {
  const std::lock_guard lock(mutex());
  erase_locked();
}

}  // namespace annuli

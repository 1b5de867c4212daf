#pragma once

#include <chrono>
#include <cstdint>
#include <string>

// The live line: a bar on standard error for work that takes seconds.
//
//   tokenizing  [########        ]   42%  1.21 GB of 2.88 GB  ETA 0:31 min
//
// Drawn only when standard error is a terminal (and TERM is not "dumb") and
// this process speaks for all that work together (notice.h); at most ten times
// a second, and no wider than the terminal. There is one such line: the bar
// that was drawn last has it, and gives it up to whatever the program prints
// (`erase_live_line`), to `finish` or to its destructor, so that it leaves no
// trace between the program's lines. Without colour if NO_COLOR is set and not
// empty. Threads may advance a bar together.
namespace annuli {

enum class ProgressUnit { kSteps, kBytes };

class Progress {
 public:
  // `done`: how much of `total` was there before, which took no time now.
  Progress(std::string label, int64_t total,
           ProgressUnit unit = ProgressUnit::kSteps, int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(int64_t amount = 1);
  // What stands behind the bar, for example the newest loss.
  void note(const std::string& text);
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  void draw();

  std::string label_;
  std::string note_;
  int64_t total_;
  ProgressUnit unit_;
  int64_t before_;
  int64_t done_;
  bool visible_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_ = start_;
};

// Takes the live line away, if one is drawn, until the next `advance`.
void erase_live_line();

struct ProgressLine {
  std::string label;
  int64_t done = 0;
  int64_t total = 0;  // unknown if <= 0: the amount alone is shown
  ProgressUnit unit = ProgressUnit::kSteps;
  double seconds_left = 0;
  std::string note;
  bool color = false;
  int width = 80;  // longest line, in columns
};

// `done` beyond `total` counts as `total`.
std::string to_text(const ProgressLine& line);

}  // namespace annuli

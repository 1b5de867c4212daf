#pragma once

#include <chrono>
#include <cstdint>
#include <string>

// A progress bar on standard error, for work that takes seconds:
//
//   tokenizing  [########        ]  42%  1.21 GB of 2.88 GB  ETA 0:31 min
//
// Drawn only when standard error is a terminal (and TERM is not "dumb"), at
// most ten times a second; erased by `finish` or the destructor, so that it
// leaves no trace between the program's lines. Without colour if NO_COLOR is
// set and not empty. Not thread-safe: one thread reports.
namespace annuli {

enum class ProgressUnit { kSteps, kBytes };

class Progress {
 public:
  Progress(std::string label, int64_t total,
           ProgressUnit unit = ProgressUnit::kSteps);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(int64_t amount = 1);
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  std::string label_;
  int64_t total_;
  ProgressUnit unit_;
  int64_t done_ = 0;
  bool visible_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_ = start_;
};

// The line itself. `done` beyond `total` counts as `total`; an unknown total
// (<= 0) shows the amount alone.
std::string progress_line(const std::string& label, int64_t done, int64_t total,
                          ProgressUnit unit, double seconds, bool color);

}  // namespace annuli

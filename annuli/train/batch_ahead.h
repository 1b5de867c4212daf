#pragma once

#include <cstdint>
#include <optional>

#include "annuli/core/worker.h"
#include "annuli/data/loader.h"

namespace annuli::train {

// What is read of each step's windows: `passes` batches of `in_pass` windows,
// one after the other, from the window `first` of the step on.
struct StepWindows {
  int64_t in_step = 0;
  int64_t first = 0;
  int64_t in_pass = 0;
  int64_t passes = 1;
};

// A loader's training batches, each read while the pass before computes.
//
// The loader's state moves on by the whole step with the step's first pass.
// Whoever moves the loader otherwise, between two steps, may do so; what was
// read ahead is then dropped. The loader is borrowed.
class BatchAhead {
 public:
  BatchAhead(data::Loader& loader, const StepWindows& windows)
      : loader_(loader), windows_(windows) {}

  const data::Loader& loader() const { return loader_; }

  // The windows of pass `pass`, 0 .. passes - 1. With 0 the next step begins.
  data::Batch next(int64_t pass);

 private:
  data::Loader& loader_;
  StepWindows windows_;
  uint64_t step_at_ = 0;  // the first window of the step at hand
  uint64_t ready_at_ = 0;
  std::optional<data::Batch> ready_;
  Worker worker_;  // last: it writes ready_
};

}  // namespace annuli::train

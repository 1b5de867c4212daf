#include "annuli/profile/profiler.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/profile/kernel_table.h"

namespace annuli::profile {
namespace {

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

Profiler::Profiler(std::filesystem::path trace, int64_t steps)
    : trace_(std::move(trace)), steps_(steps) {
  if (steps < 1) {
    user_error("profiling: steps: found {}, expected 1 or more", steps);
  }
}

void Profiler::begin_step(int64_t step) {
  if (step == 2) recorder_ = std::make_unique<Recorder>();
}

void Profiler::end_step(int64_t step, double seconds) {
  if (step > 1) {
    (records(step) ? recorded_seconds_ : other_seconds_).push_back(seconds);
  }
  if (step == 1 + steps_) {
    phase_ = recorder_->finish();
    recorder_.reset();
  }
}

void Profiler::end_phase(const std::string& phase) {
  if (recorder_) {
    phase_ = recorder_->finish();
    recorder_.reset();
  }
  if (recorded_seconds_.empty()) {
    fmt::print("  profile: one step only, and the first is never recorded\n");
    return;
  }
  const KernelTable table = kernel_table(phase_);
  fmt::print("  profile of {}: {} steps of {:.3f} s", phase, table.steps,
             median(recorded_seconds_));
  if (!other_seconds_.empty()) {
    fmt::print(", without recording {:.3f} s", median(other_seconds_));
  }
  fmt::print(" (medians)\n{}", to_text(table));
  done_.push_back({phase, std::exchange(phase_, {})});
  write_trace(trace_, done_);
  fmt::print("  trace: {} (open it in ui.perfetto.dev)\n", trace_.string());
  std::fflush(stdout);
  recorded_seconds_.clear();
  other_seconds_.clear();
}

}  // namespace annuli::profile

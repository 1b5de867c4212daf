#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "annuli/profile/recorder.h"
#include "annuli/profile/trace_file.h"

// `annuli run --profile`: records some steps of each phase, prints a table a
// phase and keeps a trace file of all of them.
//
// The first step of a phase is never recorded: it makes the moments and has
// kernels compiled. Recorded are the `steps` after it. The others are timed
// only, so that the table can say what recording itself costs.
namespace annuli::profile {

class Profiler {
 public:
  Profiler(std::filesystem::path trace, int64_t steps);

  // Around the steps of a phase, counted from 1 in this run of the program.
  void begin_step(int64_t step);
  void end_step(int64_t step, double seconds);

  // After a phase's last step: prints its table and writes the trace anew.
  void end_phase(const std::string& phase);

 private:
  bool records(int64_t step) const { return step > 1 && step <= 1 + steps_; }

  std::filesystem::path trace_;
  int64_t steps_;
  std::unique_ptr<Recorder> recorder_;
  std::vector<double> recorded_seconds_;  // of this phase's steps
  std::vector<double> other_seconds_;     // its first left out
  Recording phase_;
  std::vector<NamedRecording> done_;
};

}  // namespace annuli::profile

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "annuli/core/json.h"
#include "annuli/report/event_record.h"

// What a run records, as TensorBoard's events (docs/formats.md, "TensorBoard").
// Tags are those of Hugging Face's Trainer (train/loss, eval/loss) and, where
// it has none, of torchtitan.
namespace annuli::report {

// Turns lines of a history into events, one after the other. Steps are counted
// over all phases from 1; `seconds` since 1970 begin with what is given and go
// on by what each line says that it took.
class HistoryEvents {
 public:
  explicit HistoryEvents(double seconds) : seconds_(seconds) {}

  // The event of one line of any type; empty if it tells nothing.
  std::string of(const Json& line);
  // Goes on by what the line says without an event of it.
  void pass(const Json& line);
  // The event of the samples of a phase that has ended; empty if the run's
  // folder has none.
  std::string of_samples(const std::filesystem::path& run,
                         const std::string& phase) const;

  int64_t step() const { return step_; }
  double seconds() const { return seconds_; }

 private:
  void add_step(const Json& line, EventValues& values) const;
  void add_load(const Json& line, EventValues& values) const;

  double seconds_;
  int64_t step_ = 0;
  int64_t tokens_ = 0;
};

// How an event file begins: its first record, with `restarts` that all told
// before is void, and the fields of the plan if the run's folder has one.
std::string begin_of_events(const std::filesystem::path& run, double seconds,
                            bool restarts = false);

// The plan's fields, "optimizer.type": "adamw", for
// `EventValues::add_settings`.
std::map<std::string, Json> settings_of(const Json& plan);

// UserError if `run` is no folder of a run, or `folder` not a name for a new
// folder nor an empty one.
void check_tensorboard(const std::filesystem::path& run,
                       const std::filesystem::path& folder);

// Writes one event file into `folder`, which is made if it is not there: of the
// history, the plan and the samples of the run, which is only read. Returns how
// many steps it has.
int64_t write_tensorboard(const std::filesystem::path& run,
                          const std::filesystem::path& folder);

}  // namespace annuli::report

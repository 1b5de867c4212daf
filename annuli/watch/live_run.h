#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/report/run_data.h"
#include "annuli/watch/history_tail.h"
#include "annuli/watch/run_status.h"

// One run as it goes on, by the files of its folder, which are only read.
//
// Whatever happens to them, what was read last stays: a file that can't be read
// is told in the run's status, and looked at again once it has changed. A
// history that was cut back (a run that was resumed or rolled back) is read
// anew. Nothing throws UserError.
namespace annuli::watch {

using Clock = std::chrono::steady_clock;

class LiveRun {
 public:
  explicit LiveRun(std::filesystem::path folder);

  enum class Change {
    kNone,
    kMore,  // `update` says what
    kAnew,  // only `data` does
  };
  Change refresh(Clock::time_point now);

  bool has_steps() const { return run_.history.steps.size() > 0; }
  const report::Run& run() const { return run_; }
  const Json& status() const { return status_; }

  // The run as `report::page_data` has it, and its "status". Needs a step.
  Json data() const;
  // The steps from number `from` to `to` of all, reduced as those of a page.
  Json steps(int64_t from, int64_t to) const;

  // What is new since this was last called, or since the history began anew:
  // {"from": number of the first new step, "steps", "smooth_from",
  // "smooth_loss", "set": the keys of `data` that have changed}.
  Json update(Clock::time_point now);
  // As if all that is there had been told.
  void tell_all(Clock::time_point now);

 private:
  bool files_changed();
  HistoryTail::State look();
  void begin_anew();
  void read_history();
  void read_files();
  bool costs_changed() const;
  void told(Json rest);
  Json rest() const;
  Json status_at(Clock::time_point now) const;

  report::Run run_;
  HistoryTail tail_;
  std::unique_ptr<report::HistoryLines> lines_;
  std::optional<std::map<std::string, std::string>> stamps_;  // other files'
  Json files_;
  std::string history_trouble_;
  std::string files_trouble_;
  Clock::time_point last_line_;
  std::optional<double> age_;  // of the history when it was first seen
  Json status_;

  // What `update` has said.
  size_t told_ = 0;  // steps
  size_t smooth_from_ = 0;
  std::vector<std::string> phases_;
  double told_flops_ = 0;  // of the last of them
  Json told_rest_;
  Clock::time_point told_loads_;
  bool loads_wait_ = false;
};

}  // namespace annuli::watch

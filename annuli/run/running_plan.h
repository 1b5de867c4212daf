#pragma once

#include <optional>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/parallel/process_group.h"
#include "annuli/run/event_log.h"
#include "annuli/run/run_data.h"
#include "annuli/run/run_folder.h"
#include "annuli/run/run_state.h"
#include "annuli/train/history.h"
#include "annuli/train/loss_watch.h"
#include "annuli/verify/probe.h"

// A plan at work: what it reads and where it writes, and the place in them that
// a saved state goes back to.
//
// Of several processes that share it each makes its part of the training steps,
// of proofs and of evaluation, and the first alone writes.
namespace annuli::run {

class RunningPlan {
 public:
  // All are borrowed. Throws UserError if the data can't be read.
  RunningPlan(const Plan& plan, RunFolder& folder, at::Device device,
              parallel::ProcessGroup& group);

  // With the steps that phases have that ended early, and those after them.
  const Plan& plan() const { return plan_; }
  RunFolder& folder() { return folder_; }
  at::Device device() const { return device_; }
  parallel::ProcessGroup& group() { return group_; }
  bool is_writer() const { return folder_.is_writer(); }
  RunData& data() { return data_; }
  const verify::Probe& probe() const { return probe_; }
  train::History& history() { return *history_; }  // once entered
  train::LossWatch& watch() { return watch_; }

  const PhasePlan& phase(const RunState& state) const {
    return plan_.phases[state.phase];
  }
  bool is_last(const RunState& state) const {
    return state.phase + 1 == plan_.phases.size();
  }
  // Checks whose failure is a warning in this phase.
  std::vector<std::string> allowed(const PhasePlan& phase) const;

  // Text, history, losses and steps as they were at that state.
  void enter(const RunState& state);
  // The phase ends after the steps it has done.
  void end_phase_now(RunState& state);
  // The state has gone on to its phase: the text comes in windows of the
  // phase's length.
  void begin_windows(const RunState& state);
  // Samples of a phase are there now: tells those who read along.
  void show_samples(const std::string& phase) {
    if (events_) events_->add_samples(phase);
  }
  // Writes into the state what `enter` goes back to.
  void note_place(RunState& state);

  // Says how long it took. Keeps `also` states more than the plan says. Returns
  // on all processes when it is saved.
  void save(const RunState& state, int64_t also = 0);

  // The model, with its lineage and which tokenizer its ids belong to, so that
  // other verbs can use it.
  void save_checkpoint(const RunState& state, const std::string& name);

  // Between two parts of the work: if a signal asked one of the processes to
  // stop, saves the state and throws Stopped on all.
  void stop_if_asked(const RunState& state);
  // The same where all that is to be kept is saved; `where` goes into the text.
  void stop_if_asked(const std::string& where);

  // VerdictError unless all processes hold the model that the last record of
  // the state's lineage names.
  void require_one_model(const RunState& state);

 private:
  const Plan& given_;
  Plan plan_;
  RunFolder& folder_;
  at::Device device_;
  parallel::ProcessGroup& group_;
  RunData data_;
  verify::Probe probe_;
  train::LossWatch watch_;
  std::optional<train::History> history_;
  std::optional<EventLog> events_;  // of the writer, if the plan asks for it

  RunData open_data() const;
  [[noreturn]] void stop(int signal, const std::string& where) const;
};

}  // namespace annuli::run

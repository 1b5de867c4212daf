#include "annuli/run/running_plan.h"

#include <fmt/core.h>
#include <string.h>

#include <chrono>

#include "annuli/budget/phase_steps.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/say.h"
#include "annuli/core/stop_request.h"
#include "annuli/parallel/agree.h"
#include "annuli/run/records.h"
#include "annuli/run/stopped.h"
#include "annuli/train/schedule.h"

namespace annuli::run {

RunningPlan::RunningPlan(const Plan& plan, RunFolder& folder, at::Device device,
                         parallel::ProcessGroup& group)
    : given_(plan),
      plan_(plan),
      folder_(folder),
      device_(device),
      group_(group),
      data_(open_data()),
      probe_(data_.probe(device_)) {}

// The first process makes the token file, if there is none; the others find it.
RunData RunningPlan::open_data() const {
  group_.work_at("reading the data");
  if (!is_writer()) group_.barrier();
  RunData data(plan_);
  if (is_writer()) group_.barrier();
  parallel::require_equal(group_, {{"the data", data.fingerprint()}});
  return data;
}

std::vector<std::string> RunningPlan::allowed(const PhasePlan& phase) const {
  std::vector<std::string> names = plan_.allow;
  names.insert(names.end(), phase.allow.begin(), phase.allow.end());
  return names;
}

void RunningPlan::enter(const RunState& state) {
  data_.set_length(train::window_length(plan_, phase(state).train));
  data_.train().seek(state.loader);
  events_.reset();
  history_.emplace(folder_.history(), state.history, group_);
  if (is_writer() && !plan_.report_to.empty()) {
    events_.emplace(folder_.root());
    history_->tell([this](const Json& line) { events_->add(line); });
  }
  watch_ = train::LossWatch(state.recent_losses);
  plan_ = with_early_ends(given_, state.early_ends);
}

void RunningPlan::end_phase_now(RunState& state) {
  state.early_ends.push_back({.phase = state.phase, .steps = state.step});
  budget::end_early(plan_, state.phase, state.step);
}

void RunningPlan::begin_windows(const RunState& state) {
  const int64_t length = train::window_length(plan_, phase(state).train);
  if (length == data_.train().sequence_length()) return;
  data_.set_length(length);
  data_.train().begin_epochs();
}

void RunningPlan::note_place(RunState& state) {
  state.loader = data_.train().state();
  state.history = history_->mark();
  state.recent_losses = watch_.recent();
}

void RunningPlan::save(const RunState& state, int64_t also) {
  const auto start = std::chrono::steady_clock::now();
  group_.work_at(fmt::format("saving the state after step {} of phase {}",
                             state.step, phase(state).name));
  if (is_writer()) history_->sync();
  save_run_state(folder_.state(), state, given_, given_.save_total_limit + also,
                 group_);
  group_.barrier();
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  say("  state saved after step {} in {:.1f} s\n", state.step, seconds.count());
}

void RunningPlan::save_checkpoint(const RunState& state,
                                  const std::string& name) {
  if (!is_writer() && state.model.parts() == nullptr) return;
  const Tokenizer& tokenizer = data_.tokenizer();
  Json named = {{"name", plan_.tokenizer},
                {"hash", tokenizer.hash()},
                {"vocab_size", tokenizer.vocab_size()}};
  const DataPlan& data = plan_.data;
  if (!data.begin_token.empty()) named["begin_token"] = data.begin_token;
  if (!data.end_token.empty()) named["end_token"] = data.end_token;
  save_pt(state.model, folder_.checkpoint(name),
          without_tensor_maps(state.lineage), {{"tokenizer", named}});
}

void RunningPlan::stop_if_asked(const RunState& state) {
  const auto signal =
      static_cast<int>(parallel::highest(group_, stop_requested()));
  if (signal == 0) return;
  save(state);
  stop(signal, fmt::format("after step {} of phase {}; its state is saved",
                           state.step, phase(state).name));
}

void RunningPlan::stop_if_asked(const std::string& where) {
  const auto signal =
      static_cast<int>(parallel::highest(group_, stop_requested()));
  if (signal != 0) stop(signal, where);
}

void RunningPlan::require_one_model(const RunState& state) {
  parallel::require_same(
      group_, "comparing the model of phase " + phase(state).name,
      state.lineage.back().child,
      "run on processors of one kind, with equally many threads");
}

void RunningPlan::stop(int signal, const std::string& where) const {
  throw Stopped(
      signal,
      fmt::format("stopped by SIG{} {}; go on with: annuli run {} "
                  "--resume",
                  ::sigabbrev_np(signal), where, folder_.plan().string()));
}

}  // namespace annuli::run

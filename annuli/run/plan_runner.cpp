#include "annuli/run/plan_runner.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/core/memory.h"
#include "annuli/core/rng.h"
#include "annuli/core/say.h"
#include "annuli/core/stop_request.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/kernels/product.h"
#include "annuli/kernels/threads.h"
#include "annuli/model/device.h"
#include "annuli/parallel/agree.h"
#include "annuli/profile/profiler.h"
#include "annuli/report/summary.h"
#include "annuli/run/alike.h"
#include "annuli/run/begin_phase.h"
#include "annuli/run/console.h"
#include "annuli/run/end_phase.h"
#include "annuli/run/first_state.h"
#include "annuli/run/freezing.h"
#include "annuli/run/phase_slope.h"
#include "annuli/run/resume.h"
#include "annuli/run/rollback.h"
#include "annuli/run/run_names.h"
#include "annuli/run/running_plan.h"
#include "annuli/run/session.h"
#include "annuli/run/step_log.h"
#include "annuli/train/schedule.h"
#include "annuli/train/step_share.h"
#include "annuli/train/trainer.h"
#include "annuli/verify/verdict.h"

namespace annuli::run {
namespace {

using Clock = std::chrono::steady_clock;

class PlanRunner {
 public:
  PlanRunner(const Plan& plan, RunFolder& folder, at::Device device,
             std::optional<profile::Profiler> profiler,
             parallel::ProcessGroup& group,
             const std::optional<StopPoint>& stop)
      : plan_(plan),
        run_(plan, folder, device, group),
        profiler_(std::move(profiler)),
        stop_(stop) {}

  // Where it stopped, if it was to.
  std::optional<StopPoint> run(IfPresent if_present) {
    std::optional<RunState> state = begin(if_present);
    run_.enter(*state);
    // Killed between its state and its samples.
    if (state->phase_ended) make_samples(run_, *state);
    // A model that was there before can grow before it is trained.
    if (state->phase == 0 && state->step == 0 && run_.phase(*state).grow) {
      grow_into_phase(run_, *state);
    }
    for (;;) {
      if (stops_at(*state)) return StopPoint{state->phase, state->step};
      if (!state->phase_ended && !complete_phase(state)) continue;
      if (stops_at(*state)) return StopPoint{state->phase, state->step};
      if (run_.is_last(*state)) break;
      begin_phase(run_, *state);
    }
    write_summary();
    return std::nullopt;
  }

 private:
  // The saved state, or a fresh model before its first step.
  RunState begin(IfPresent if_present) {
    if (run_.is_writer()) {
      warn_of_slow_numbers(plan_, run_.device(), kernels::bf16_is_fast());
    }
    std::optional<RunState> saved;
    if (if_present != IfPresent::kForce) {
      saved = resume(run_.folder(), plan_, run_.device(), run_.group());
    }
    if (saved) {
      begin_folder(*saved);
      say("resuming in phase {} after step {}\n", run_.phase(*saved).name,
          saved->step);
      reset_peak_resident();
      return std::move(*saved);
    }
    FirstState first =
        first_state(plan_, run_.data().tokenizer().vocab_size(), run_.device());
    keep_own_part(first.model, first.optimizer, plan_, run_.group());
    RunState state{.model = std::move(first.model),
                   .optimizer = train::Optimizer(plan_.optimizer,
                                                 std::move(first.optimizer)),
                   .loader = run_.data().train().state(),
                   .lineage = std::move(first.lineage)};
    begin_folder(state);
    reset_peak_resident();
    print_phase(plan_, 0, state.model.config());
    return state;
  }

  void begin_folder(const RunState& state) {
    // All have read what is replaced now.
    Json session = session_json(run_.group());
    if (!run_.is_writer()) return;
    run_.folder().claim();
    fs::remove(run_.folder().summary());  // of another plan, if there is one
    write_file_atomically(run_.folder().plan(), to_yaml(plan_));
    session["phase"] = run_.phase(state).name;
    session["after_step"] = state.step;
    append_session(run_.folder().sessions(), session);
  }

  bool stops_at(const RunState& state) const {
    return stop_ && std::pair(state.phase, state.step) >=
                        std::pair(stop_->phase, stop_->step);
  }

  // Trains what is left of the phase and ends it. Where that fails and the plan
  // wants it, `state` becomes a saved one instead, and it is false.
  bool complete_phase(std::optional<RunState>& state) {
    try {
      if (state->step < run_.phase(*state).train.max_steps) train(*state);
      if (stops_at(*state)) return true;
      end_phase(run_, *state);
      return true;
    } catch (const VerdictError& error) {
      if (plan_.on_failure != OnFailure::kRollback) throw;
      roll_back(run_, state, error.what());
      return false;
    }
  }

  // What the phase freezes for a time is trained by another trainer after it.
  void train(RunState& state) {
    const PhasePlan& phase = run_.phase(state);
    begin_freezing(phase, state);
    if (const auto last = thaws_after(phase, state)) {
      train_until(state, std::min(*last, phase.train.max_steps));
      if (stops_at(state) || state.step < *last) return;
      if (const auto same = frozen_verdict(phase, state)) {
        verify::require({*same});
      }
    }
    train_until(state, phase.train.max_steps);
  }

  void train_until(RunState& state, int64_t last) {
    const PhasePlan& phase = run_.phase(state);
    TrainPlan plan = phase.train;
    plan.learning_rate *= state.lr_factor;
    kernels::give_back_memory();
    train::Trainer trainer(
        state.model, state.optimizer, run_.data().train(), plan,
        plan.weight_decay.value_or(plan_.optimizer.weight_decay),
        CounterRng(plan_.seed, "phase/" + phase.name).bits(0), run_.group(),
        state.previous_norm, plan_.parallel.shard,
        train::place_in_run(run_.plan(), state.phase), frozen_now(phase, state),
        old_entries(phase, state));
    train::WeightSample sample(state.model.table(),
                               state.recipe ? &*state.recipe : nullptr);
    StepLog log(run_.history(), phase.name,
                StepLines(phase.name, state.step + 1, plan.max_steps,
                          plan_.logging_steps));
    PhaseSlope slope(run_.plan(), state);
    for (int64_t number = 1; state.step < last && !stops_at(state); ++number) {
      const int signal = train_step(state, trainer, sample, log, slope, number);
      if (slope.ends_phase()) break;
      if (state.step < plan.max_steps) between_steps(state, log, signal);
    }
    log.finish();
    note_slope(state, slope);
    if (profiler_) profiler_->end_phase(phase.name);
  }

  // Where the phase's `until` ends it, or it has no more steps to do.
  void note_slope(RunState& state, const PhaseSlope& slope) {
    const auto fit = slope.fit(state);
    if (!fit) return;
    if (slope.ends_phase()) {
      run_.end_phase_now(state);
    } else if (state.step < run_.phase(state).train.max_steps) {
      return;
    }
    run_.history().append(slope.to_json(state, *fit));
    slope.print(run_.plan(), state, *fit);
  }

  // `number` counts the steps of this process in the phase. Returns the signal
  // that asks to stop.
  int train_step(RunState& state, train::Trainer& trainer,
                 train::WeightSample& sample, StepLog& log, PhaseSlope& slope,
                 int64_t number) {
    run_.group().work_at(fmt::format("step {} of phase {}", state.step + 1,
                                     run_.phase(state).name));
    if (profiler_) profiler_->begin_step(number);
    const auto start = Clock::now();
    train::StepRecord record = step(state, trainer, sample);
    const std::chrono::duration<double> seconds = Clock::now() - start;
    if (profiler_) profiler_->end_step(number, seconds.count());
    record.loss_rise = run_.watch().rise(record.loss);
    state.step = record.step;
    state.previous_norm = trainer.previous_norm();
    slope.add(state, record.loss);
    log.add(record, seconds.count());
    // One that all rollbacks could not avoid is lived with.
    const bool rolls_back = plan_.on_failure == OnFailure::kRollback &&
                            state.rollbacks < plan_.max_rollbacks;
    if (record.loss_rise > 0 && rolls_back) {
      throw VerdictError(fmt::format(
          "training step {}: the loss {:.4f} lies {:.2f} above those before",
          record.step, record.loss, record.loss_rise));
    }
    // One process alone looks once more: the record is of the step's middle.
    return run_.group().size() > 1 ? record.stop_signal : stop_requested();
  }

  train::StepRecord step(const RunState& state, train::Trainer& trainer,
                         train::WeightSample& sample) {
    const int64_t next = state.step + 1;
    const bool measures = train::is_measured(next, plan_.measure_steps,
                                             plan_.evaluation.eval_steps);
    train::StepRecord record = trainer.step(next, measures ? &sample : nullptr);
    if (measures) record.measures = sample.take(state.model, run_.group());
    return record;
  }

  // What falls due inside a phase; its end has its own.
  void between_steps(RunState& state, StepLog& log, int signal) {
    const auto falls_due = [&](int64_t every) {
      return every > 0 && state.step % every == 0;
    };
    const bool evaluates = falls_due(plan_.evaluation.eval_steps);
    const bool saves = falls_due(plan_.save_steps) || stops_at(state);
    log.check();
    if (!evaluates && !saves && signal == 0) return;
    log.finish();
    if (evaluates) evaluate(run_, state);
    state.after_rollback = false;
    run_.note_place(state);
    run_.stop_if_asked(state);
    if (saves) run_.save(state);
  }

  // Written last: a run that has it is finished.
  void write_summary() {
    if (!run_.is_writer()) return;
    Json summary = train::to_json(run_.history().mark());
    summary["plan_hash"] = plan_hash(plan_);
    write_json(run_.folder().summary(), summary);
  }

  const Plan& plan_;
  RunningPlan run_;
  std::optional<profile::Profiler> profiler_;
  std::optional<StopPoint> stop_;
};

// UserError if it is, and its history is no more what it was then.
bool holds_summary_of(const Plan& plan, const RunFolder& folder) {
  if (!fs::exists(folder.summary())) return false;
  const Json summary = read_json(folder.summary());
  try {
    if (summary.at("plan_hash") != plan_hash(plan)) return false;
    train::require_unchanged(folder.history(), train::mark_from_json(summary));
  } catch (const Json::exception& error) {
    user_error(
        "reading {}: it is not what a finished run writes ({}); remove it to "
        "go on with --resume",
        folder.summary().string(), reason_of(error));
  }
  return true;
}

// As the first process sees it.
bool is_finished(const RunFolder& folder, const Plan& plan,
                 parallel::ProcessGroup& group) {
  const bool finished = folder.is_writer() && holds_summary_of(plan, folder);
  return parallel::of_first(group, finished ? "finished" : "") == "finished";
}

void refuse_begun(const RunFolder& folder, const Plan& plan) {
  if (!folder.is_writer() || !folder.is_begun()) return;
  user_error(
      "running {}: {} holds another or an unfinished run; go on with --resume, "
      "start over with --force, or choose another folder with --out",
      plan.name, folder.root().string());
}

void check_trace(const fs::path& trace, const InputPaths& inputs) {
  if (trace.empty() || !fs::exists(trace)) return;
  inputs.keep_out_of(trace, "writing the trace " + trace.string());
  if (profile::is_trace(trace)) return;
  user_error(
      "writing the trace {}: what stands there is no trace of a run, so it is "
      "not replaced; choose another name for --profile",
      trace.string());
}

std::optional<profile::Profiler> profiler_of(
    const std::optional<ProfileOptions>& options, const RunFolder& folder) {
  if (!options || !folder.is_writer()) return std::nullopt;
  return profile::Profiler(options->trace.empty()
                               ? folder.root() / "profile.json"
                               : fs::path(options->trace),
                           options->steps);
}

}  // namespace

std::optional<StopPoint> run_plan(const Plan& plan, const fs::path& plan_file,
                                  IfPresent if_present,
                                  const std::optional<ProfileOptions>& profile,
                                  std::optional<at::Device> device,
                                  parallel::ProcessGroup& group,
                                  const std::optional<StopPoint>& stop) {
  if (plan.threads > 0) {
    kernels::set_num_threads(static_cast<int>(plan.threads));
  }
  train::require_shareable(plan, group.size());
  require_alike(plan, group);
  const at::Device chosen = device ? *device : choose_device(plan.device);
  require_runnable(plan, chosen);
  const bool anew = if_present == IfPresent::kForce;
  std::set<std::string> names = names_of(plan);
  if (profile && profile->trace.empty()) names.insert("profile.json");
  const InputPaths inputs = inputs_of(plan, plan_file);
  if (profile) check_trace(profile->trace, inputs);
  RunFolder folder(plan.output_dir, names, inputs,
                   anew ? Claim::kReplace : Claim::kAdd, group);
  folder.remove_leftovers();
  if (!anew && is_finished(folder, plan, group)) {
    say("{} holds this plan's finished run; --force runs it again\n\n",
        folder.root().string());
  } else {
    if (if_present == IfPresent::kRefuse) refuse_begun(folder, plan);
    const auto stopped = PlanRunner(plan, folder, chosen,
                                    profiler_of(profile, folder), group, stop)
                             .run(if_present);
    if (stopped) return stopped;
  }
  if (folder.is_writer()) {
    say("{}", report::summary_table(plan, folder.history()));
  }
  return std::nullopt;
}

}  // namespace annuli::run

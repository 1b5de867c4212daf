#include "annuli/run/plan_runner.h"

#include <fmt/core.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/core/memory.h"
#include "annuli/core/rng.h"
#include "annuli/core/text.h"
#include "annuli/core/worker.h"
#include "annuli/kernels/caching_allocator.h"
#include "annuli/kernels/threads.h"
#include "annuli/model/device.h"
#include "annuli/profile/profiler.h"
#include "annuli/report/summary.h"
#include "annuli/run/console.h"
#include "annuli/run/first_state.h"
#include "annuli/run/growth_step.h"
#include "annuli/run/records.h"
#include "annuli/run/run_data.h"
#include "annuli/run/run_folder.h"
#include "annuli/run/run_state.h"
#include "annuli/run/samples.h"
#include "annuli/train/evaluate.h"
#include "annuli/train/history.h"
#include "annuli/train/trainer.h"

namespace annuli::run {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class PlanRunner {
 public:
  PlanRunner(const Plan& plan, RunFolder& folder,
             std::optional<profile::Profiler> profiler)
      : plan_(plan),
        folder_(folder),
        profiler_(std::move(profiler)),
        plan_hash_(plan_hash(plan)),
        device_(choose_device(plan.device)),
        data_(plan),
        probe_(data_.probe(device_)) {}

  void run() {
    RunState state = begin();
    data_.train().seek(state.loader);
    history_.emplace(folder_.history(), state.history_bytes);
    // A model that was there before can grow before it is trained.
    if (state.phase == 0 && state.step == 0 && phase(state).grow) grow(state);
    for (;;) {
      if (state.step < phase(state).train.max_steps) {
        train(state);
        end_phase(state);
      }
      if (state.phase + 1 == plan_.phases.size()) break;
      begin_phase(state);
    }
    write_json(folder_.summary(), {{"plan_hash", plan_hash_}});
  }

 private:
  const PhasePlan& phase(const RunState& state) const {
    return plan_.phases[state.phase];
  }

  // The saved state, or a fresh model before its first step.
  RunState begin() {
    warn_of_slow_numbers(plan_, device_);
    if (auto saved = load_run_state(folder_.state(), plan_.optimizer,
                                    plan_hash_, device_)) {
      fmt::print("resuming in phase {} after step {}\n", phase(*saved).name,
                 saved->step);
      saved->model.set_products(number_types(plan_.precision).products);
      reset_peak_resident();
      return std::move(*saved);
    }
    write_file_atomically(folder_.plan(), to_yaml(plan_));
    FirstState first =
        first_state(plan_, data_.tokenizer().vocab_size(), device_);
    RunState state{.model = std::move(first.model),
                   .optimizer = train::Optimizer(plan_.optimizer,
                                                 std::move(first.optimizer)),
                   .loader = data_.train().state(),
                   .lineage = std::move(first.lineage)};
    reset_peak_resident();
    print_phase(plan_, 0, state.model.config());
    return state;
  }

  std::vector<std::string> allowed(const PhasePlan& phase) const {
    std::vector<std::string> names = plan_.allow;
    names.insert(names.end(), phase.allow.begin(), phase.allow.end());
    return names;
  }

  void begin_phase(RunState& state) {
    ++state.phase;
    state.step = 0;
    state.previous_norm.reset();
    state.recipe.reset();
    state.control.reset();
    state.router_grad_norm.clear();
    reset_peak_resident();
    if (phase(state).grow) {
      grow(state);
    } else {
      print_phase(plan_, state.phase, state.model.config());
    }
  }

  // Grows into the phase; nothing is written before the proof holds but the
  // proof itself.
  void grow(RunState& state) {
    const PhasePlan& phase = this->phase(state);
    fmt::print("\ngrowing into phase {}\n", phase.name);
    std::fflush(stdout);
    const GrowthOrder order{
        .grow = *phase.grow,
        // Every growth of a run draws its own numbers. 63 bits, since Python
        // and JSON readers know signed integers.
        .seed = CounterRng(plan_.seed, "grow/" + phase.name).bits(0) >> 1,
        .loss_budget =
            phase.boundary_loss_budget.value_or(plan_.boundary_loss_budget),
        .allow = allowed(phase),
    };
    Grown grown = grow_and_verify(std::move(state.model),
                                  state.optimizer.take_states(), order, probe_);
    print_phase(plan_, state.phase, grown.model.config());
    print_growth(grown);
    write_verdicts(folder_.verdicts(phase.name), "growth", grown.verdicts);
    verify::require(grown.verdicts);

    state.model = std::move(grown.model);
    state.optimizer =
        train::Optimizer(plan_.optimizer, std::move(grown.optimizer));
    state.recipe = std::move(grown.recipe);
    state.control = grown.control;
    append(state.lineage,
           growth_record(*state.recipe, state.lineage.back().child,
                         content_hash(state.model), grown.verdicts));
    history_->append(boundary_json(phase.name, *state.recipe, grown));
    if (!phase.init_checkpoint.empty()) {
      save_checkpoint(state, phase.init_checkpoint);
    }
  }

  void train(RunState& state) {
    const PhasePlan& phase = this->phase(state);
    const double weight_decay =
        phase.train.weight_decay.value_or(plan_.optimizer.weight_decay);
    kernels::give_back_memory();
    train::Trainer trainer(
        state.model, state.optimizer, data_.train(), phase.train, weight_decay,
        CounterRng(plan_.seed, "phase/" + phase.name).bits(0),
        state.previous_norm);
    try {
      run_steps(state, trainer);
    } catch (...) {
      log_.finish();  // the steps before are written down first
      throw;
    }
    log_.finish();
  }

  void run_steps(RunState& state, train::Trainer& trainer) {
    const PhasePlan& phase = this->phase(state);
    const auto lines = std::make_shared<StepLines>(
        state.step + 1, phase.train.max_steps, plan_.logging_steps);
    for (int64_t number = 1; state.step < phase.train.max_steps; ++number) {
      if (profiler_) profiler_->begin_step(number);
      const auto start = Clock::now();
      const train::StepRecord record = trainer.step(state.step + 1);
      const double seconds = seconds_since(start);
      if (profiler_) profiler_->end_step(number, seconds);
      state.step = record.step;
      state.previous_norm = trainer.previous_norm();
      if (!record.router_grad_norm.empty()) {
        state.router_grad_norm.push_back(record.router_grad_norm);
      }
      // The peak is that of this step; writing it down may wait.
      log_.post([this, lines, record, seconds,
                 line = step_json(phase.name, record, seconds)] {
        history_->append(line);
        lines->print(record, seconds);
      });
      between_steps(state);
    }
    if (profiler_) profiler_->end_phase(phase.name);
  }

  // Evaluation and saving that fall due inside a phase; its end has its own.
  void between_steps(RunState& state) {
    const bool last = state.step == phase(state).train.max_steps;
    if (last) return;
    const int64_t eval_steps = plan_.evaluation.eval_steps;
    const bool evaluates = eval_steps > 0 && state.step % eval_steps == 0;
    const bool saves =
        plan_.save_steps > 0 && state.step % plan_.save_steps == 0;
    if (evaluates || saves) log_.finish();
    log_.check();
    if (evaluates) evaluate(state);
    if (saves) save(state);
  }

  void evaluate(const RunState& state) {
    if (plan_.evaluation.windows == 0) return;
    const double loss = train::evaluate(state.model, data_.validation());
    const double bits_per_byte = loss / std::log(2.0) / data_.bytes_per_token();
    fmt::print("  held-out loss {:.4f}, {:.3f} bits per byte\n", loss,
               bits_per_byte);
    history_->append({{"type", "evaluation"},
                      {"phase", phase(state).name},
                      {"step", state.step},
                      {"eval_loss", loss},
                      {"bits_per_byte", bits_per_byte}});
  }

  // Says which tokenizer its ids belong to, so that other verbs can use it.
  void save_checkpoint(const RunState& state, const std::string& name) {
    const Tokenizer& tokenizer = data_.tokenizer();
    save_pt(state.model, folder_.checkpoint(name),
            without_tensor_maps(state.lineage),
            {{"tokenizer",
              {{"name", plan_.tokenizer},
               {"hash", tokenizer.hash()},
               {"vocab_size", tokenizer.vocab_size()}}}});
  }

  void save(RunState& state) {
    state.loader = data_.train().state();
    state.history_bytes = history_->bytes();
    save_run_state(folder_.state(), state, plan_hash_);
  }

  void end_phase(RunState& state) {
    const PhasePlan& phase = this->phase(state);
    evaluate(state);
    prove_phase(state);
    append(state.lineage, lineage_record("train", train_arguments(phase.train),
                                         plan_.seed, state.lineage.back().child,
                                         content_hash(state.model)));
    save_checkpoint(state, phase.checkpoint);
    write_lineage(folder_.lineage(), state.lineage);
    if (!plan_.samples.prompts.empty()) {
      write_samples(folder_.samples(phase.name), plan_, state.model,
                    data_.tokenizer());
    }
    history_->append(
        phase_json(phase.name, state.model.config(), peak_resident_bytes()));
    fmt::print("  checkpoint {}  peak memory {}\n", phase.checkpoint,
               format_bytes(static_cast<double>(peak_resident_bytes())));
    // After the last phase nothing is left to go on to.
    if (state.phase + 1 < plan_.phases.size()) save(state);
  }

  void prove_phase(const RunState& state) {
    if (!state.recipe) return;
    const PhasePlan& phase = this->phase(state);
    const ModelFile parent(
        state.phase == 0
            ? fs::path(plan_.model.from)
            : folder_.checkpoint(plan_.phases[state.phase - 1].checkpoint));
    const verify::PhaseEvidence evidence{
        .recipe = *state.recipe,
        .probe = probe_,
        .control = state.control ? &*state.control : nullptr,
        .parent_tensor =
            [&](const std::string& name) { return parent.copy(name); },
        .steps = state.step,
        .router_grad_norm = state.router_grad_norm,
    };
    auto verdicts = verify::verify_phase(evidence, state.model);
    verify::allow(verdicts, allowed(phase));
    print_verdicts(verdicts);
    write_verdicts(folder_.verdicts(phase.name), "after_phase", verdicts);
    verify::require(verdicts);
  }

  const Plan& plan_;
  RunFolder& folder_;
  std::optional<profile::Profiler> profiler_;
  std::string plan_hash_;
  at::Device device_;
  RunData data_;
  verify::Probe probe_;
  std::optional<train::History> history_;
  Worker log_;  // writes the steps' lines; last, as it uses the history
};

bool is_finished(const RunFolder& folder, const Plan& plan) {
  return fs::exists(folder.summary()) &&
         read_json(folder.summary()).value("plan_hash", "") == plan_hash(plan);
}

std::optional<profile::Profiler> profiler_of(
    const std::optional<ProfileOptions>& options, const RunFolder& folder) {
  if (!options) return std::nullopt;
  return profile::Profiler(options->trace.empty()
                               ? folder.root() / "profile.json"
                               : fs::path(options->trace),
                           options->steps);
}

}  // namespace

void run_plan(const Plan& plan, IfPresent if_present,
              const std::optional<ProfileOptions>& profile) {
  if (plan.threads > 0) {
    kernels::set_num_threads(static_cast<int>(plan.threads));
  }
  RunFolder folder(plan.output_dir);
  if (if_present == IfPresent::kForce) folder.clear();
  if (is_finished(folder, plan)) {
    fmt::print("{} holds this plan's finished run; --force runs it again\n\n",
               folder.root().string());
  } else {
    const bool begun = fs::exists(folder.history());
    if (begun && if_present == IfPresent::kRefuse) {
      user_error(
          "running {}: {} holds another or an unfinished run; go on "
          "with --resume, start over with --force, or choose another "
          "folder with --out",
          plan.name, folder.root().string());
    }
    PlanRunner(plan, folder, profiler_of(profile, folder)).run();
  }
  fmt::print("{}", report::summary_table(plan, folder.history()));
}

}  // namespace annuli::run

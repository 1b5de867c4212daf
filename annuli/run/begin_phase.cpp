#include "annuli/run/begin_phase.h"

#include <fmt/core.h>

#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/core/memory.h"
#include "annuli/core/rng.h"
#include "annuli/core/say.h"
#include "annuli/run/console.h"
#include "annuli/run/growth_step.h"
#include "annuli/run/records.h"
#include "annuli/train/weight_sample.h"

namespace annuli::run {
namespace {

GrowthOrder growth_order(RunningPlan& run, const PhasePlan& phase) {
  const Plan& plan = run.plan();
  return {
      .grow = *phase.grow,
      // Every growth of a run draws its own numbers. 63 bits, since Python and
      // JSON readers know signed integers.
      .seed = CounterRng(plan.seed, "grow/" + phase.name).bits(0) >> 1,
      .loss_budget = phase.boundary_loss_budget ? phase.boundary_loss_budget
                                                : plan.boundary_loss_budget,
      .allow = run.allowed(phase),
      .between_parts =
          [&run, &phase] {
            run.stop_if_asked(fmt::format(
                "while growing into phase {}; the state before that is saved",
                phase.name));
          },
      .group = run.group(),
      .holders = holds_part(plan, run.group()) ? &run.group() : nullptr,
  };
}

// What every later measure of the phase is held against.
std::optional<double> copies_apart(RunningPlan& run, const RunState& state) {
  if (run.plan().measure_steps == 0) return std::nullopt;
  return train::WeightSample(state.model.table(), &*state.recipe)
      .of_weights(state.model, run.group())
      .copies_apart;
}

}  // namespace

void grow_into_phase(RunningPlan& run, RunState& state) {
  const PhasePlan& phase = run.phase(state);
  say("\ngrowing into phase {}\n", phase.name);
  run.group().work_at("growing into phase " + phase.name);
  Grown grown =
      grow_and_verify(std::move(state.model), state.optimizer.take_states(),
                      growth_order(run, phase), run.probe());
  print_phase(run.plan(), state.phase, grown.model.config());
  print_growth(grown);
  if (run.is_writer()) {
    write_verdicts(run.folder().verdicts(phase.name), "growth", grown.verdicts);
  }
  verify::require(grown.verdicts);

  state.model = std::move(grown.model);
  state.optimizer =
      train::Optimizer(run.plan().optimizer, std::move(grown.optimizer));
  state.recipe = std::move(grown.recipe);
  state.control = grown.control;
  append(state.lineage,
         growth_record(*state.recipe, state.lineage.back().child,
                       content_hash(state.model), grown.verdicts));
  run.require_one_model(state);
  run.history().append(boundary_json(phase.name, *state.recipe, grown,
                                     copies_apart(run, state)));
  if (!phase.init_checkpoint.empty()) {
    run.save_checkpoint(state, phase.init_checkpoint);
  }
}

void begin_phase(RunningPlan& run, RunState& state) {
  ++state.phase;
  state.step = 0;
  state.phase_ended = false;
  state.previous_norm.reset();
  state.frozen_hash.clear();
  state.loss_bins = {};
  state.recipe.reset();
  state.control.reset();
  run.begin_windows(state);
  reset_peak_resident();
  if (run.phase(state).grow) {
    grow_into_phase(run, state);
  } else {
    print_phase(run.plan(), state.phase, state.model.config());
  }
}

}  // namespace annuli::run

#include "annuli/run/freezing.h"

#include "annuli/core/error.h"

namespace annuli::run {
namespace {

// Of the whole phase, whatever the step.
train::FrozenEntries frozen_entries(const PhasePlan& phase,
                                    const RunState& state) {
  return {*phase.train.freeze, state.model.table(),
          state.recipe ? &*state.recipe : nullptr};
}

bool is_frozen(const PhasePlan& phase, int64_t steps_done) {
  const auto& freeze = phase.train.freeze;
  return freeze &&
         (!freeze->unfreeze_after || steps_done < *freeze->unfreeze_after);
}

}  // namespace

bool is_frozen(const PhasePlan& phase, const RunState& state) {
  return is_frozen(phase, state.step);
}

train::FrozenEntries frozen_now(const PhasePlan& phase, const RunState& state) {
  if (!is_frozen(phase, state.step)) return {};
  return frozen_entries(phase, state);
}

train::FrozenEntries old_entries(const PhasePlan& phase,
                                 const RunState& state) {
  if (phase.train.rewarm_of == RewarmOf::kAll) return {};
  ANNULI_CHECK(state.recipe.has_value(), "rewarm_of: new without growth");
  return train::FrozenEntries::of_parent(state.model.table(), *state.recipe);
}

void begin_freezing(const PhasePlan& phase, RunState& state) {
  if (state.step > 0 || !is_frozen(phase, 0)) return;
  const train::FrozenEntries frozen = frozen_entries(phase, state);
  for (size_t row = 0; row < state.model.table().size(); ++row) {
    if (frozen.is_whole(row)) state.optimizer.forget(row);
  }
  state.frozen_hash = frozen.hash(state.model);
}

std::optional<int64_t> thaws_after(const PhasePlan& phase,
                                   const RunState& state) {
  if (!is_frozen(phase, state.step)) return std::nullopt;
  return phase.train.freeze->unfreeze_after;
}

std::optional<verify::Verdict> frozen_verdict(const PhasePlan& phase,
                                              const RunState& state) {
  if (state.frozen_hash.empty()) return std::nullopt;
  const bool is_same =
      frozen_entries(phase, state).hash(state.model) == state.frozen_hash;
  verify::Verdict verdict =
      verify::at_most("frozen_entries", "frozen entries that changed, 1 if any",
                      is_same ? 0 : 1, 0);
  verdict.data["sha256"] = state.frozen_hash;
  return verdict;
}

}  // namespace annuli::run

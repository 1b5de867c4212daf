#pragma once

#include <optional>

#include "annuli/run/run_state.h"
#include "annuli/train/frozen_entries.h"
#include "annuli/verify/verdict.h"

// A phase that does not train all of its model (`train.freeze`): at its first
// step what is frozen is hashed, and its optimizer's state let go; at its end,
// or where it thaws, it must be the same to the byte.
namespace annuli::run {

// What is frozen in the state's next step.
train::FrozenEntries frozen_now(const PhasePlan& phase, const RunState& state);

// What the phase's growth has not added, if the rate of what it added rises
// anew (`train.rewarm_of`).
train::FrozenEntries old_entries(const PhasePlan& phase, const RunState& state);

// Before the first step of a phase. Where processes hold the model in parts all
// of them call it.
void begin_freezing(const PhasePlan& phase, RunState& state);

// The step after which all is trained, if it is still to come.
std::optional<int64_t> thaws_after(const PhasePlan& phase,
                                   const RunState& state);

// Whether a phase that has done its steps is frozen still.
bool is_frozen(const PhasePlan& phase, const RunState& state);

// Whether all that was frozen at the phase's beginning is what it was; nothing
// if it was not noted.
std::optional<verify::Verdict> frozen_verdict(const PhasePlan& phase,
                                              const RunState& state);

}  // namespace annuli::run

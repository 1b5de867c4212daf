#pragma once

#include "annuli/verify/verdict.h"

// The loss on the probe before and after a growth step.
namespace annuli::verify {

// The jump against a budget. An exact step has none but rounding; one that is
// not declares its budget in the plan. The losses are means over the probe, in
// nats, and stand in the verdict's data. `logits_limit`: how far rounding may
// move the logits of an exact step, relative (identity_limit).
Verdict boundary_record(double loss_before, double loss_after, bool exact,
                        double budget, double logits_limit);

}  // namespace annuli::verify

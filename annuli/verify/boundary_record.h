#pragma once

#include "annuli/model/transformer.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// The loss on the probe before and after a growth step.
namespace annuli::verify {

// Mean cross-entropy over the probe, one window at a time, nats.
double probe_loss(const Transformer& model, const Probe& probe);

// The jump against a budget. An exact step has none but rounding; one that is
// not declares its budget in the plan.
Verdict boundary_record(double loss_before, double loss_after, bool exact,
                        double budget);

}  // namespace annuli::verify

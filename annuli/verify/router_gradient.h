#pragma once

#include "annuli/model/transformer.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {

// Whether the language-model loss moves the routers: its gradient alone,
// without balance and z loss, on the first window of the probe.
//
// Measured, layer by layer: the norm of the router's gradient over what it
// would be at all: with the same experts under raw gates of a router that has
// not decided yet. What the experts' outputs and the loss contribute is the
// same in both, so the quotient is about how far the chosen experts' outputs
// differ, times how far the gates let that through. Fp32 leaves some 1e-7 of it
// where the experts are equal (rounding in blocks of different sizes), exactly
// 0 where the gate is constant. Experts count as distinct from a relative
// distance of 1e-4 on. The limit, 1e-6, is sixteen roundings of fp32, and a
// hundredth of that distance. See docs/operators.md.
//
// Needs the experts to have parted: not right after growth. Costs a forward and
// a backward pass of a window, twice: of several processes with all weights the
// last makes one and the last but one, if there are more than two, the other;
// where they hold the weights in parts all of them make both.
Verdict router_gradient(const Transformer& model, const Probe& probe,
                        parallel::ProcessGroup& group = parallel::solo());

}  // namespace annuli::verify

#pragma once

#include "annuli/data/loader.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/solo.h"

namespace annuli::train {

// Mean next-token cross-entropy in nats over fixed windows, evaluated one at a
// time so that the result does not depend on how many there are at once.
// Processes that share the work divide the windows; each gets the mean, with
// the bits of one that evaluates alone.
double evaluate(const Transformer& model, const data::Batch& windows,
                parallel::ProcessGroup& group = parallel::solo());

}  // namespace annuli::train

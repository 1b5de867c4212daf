#pragma once

#include "annuli/data/loader.h"
#include "annuli/model/transformer.h"

namespace annuli::train {

// Mean next-token cross-entropy in nats over fixed windows, evaluated one at a
// time so that the result does not depend on how many there are at once.
double evaluate(const Transformer& model, const data::Batch& windows);

}  // namespace annuli::train

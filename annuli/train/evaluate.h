#pragma once

#include <vector>

#include "annuli/data/loader.h"
#include "annuli/model/transformer.h"

namespace annuli::train {

// Mean next-token cross-entropy in nats over fixed windows, evaluated one at a
// time so that the result does not depend on how many there are at once.
// Every window is [T + 1] token ids.
double evaluate(const Transformer& model,
                const std::vector<std::vector<int64_t>>& windows);

}  // namespace annuli::train

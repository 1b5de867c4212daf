#pragma once

#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/recipe.h"

// AdamW's state of a model folder, grown from files to files by the rules of
// optimizer_state.h, tensor by tensor.
namespace annuli::grow {

struct StatePlan {
  OptimizerState optimizer = OptimizerState::kCarry;
  Dynamics dynamics = Dynamics::kPlain;
};

// What will be written: the entries of optimizer.safetensors. A tensor that
// starts at zero has none.
std::vector<TensorEntry> plan_state(const Recipe& recipe,
                                    const OptimizerFile& parent,
                                    const StatePlan& plan);

// Writes optimizer.safetensors and optimizer.json into `folder`.
void stream_state(const Recipe& recipe, const OptimizerFile& parent,
                  const StatePlan& plan, const fs::path& folder);

}  // namespace annuli::grow

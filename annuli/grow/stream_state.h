#pragma once

#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/recipe.h"
#include "annuli/parallel/solo.h"

// The optimizer's state of a model folder, grown from files to files by the
// rules of optimizer_state.h, tensor by tensor. Moments that are numbers pass
// in pieces; of 8-bit codes one tensor is held widened.
namespace annuli::grow {

// Whether a child tensor's state follows its parent's, if that has one. Of
// several parents only the first's is at hand.
bool carries_state(const TensorRecipe& tensor, const StateGrowth& plan);

// What will be written: the entries of optimizer.safetensors. A tensor that
// starts at zero has none.
std::vector<TensorEntry> plan_state(const Recipe& recipe,
                                    const OptimizerFile& parent,
                                    const StateGrowth& plan);

// Writes optimizer.safetensors and optimizer.json into `folder`, with all
// processes of the group, each some of the tensors.
void stream_state(const Recipe& recipe, const OptimizerFile& parent,
                  const StateGrowth& plan, const fs::path& folder,
                  parallel::ProcessGroup& group = parallel::solo());

}  // namespace annuli::grow

#pragma once

#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/row_owners.h"
#include "annuli/optim/tensor_state.h"
#include "annuli/parallel/process_group.h"

// How what an optimizer remembers (optim/tensor_state.h) follows a growth step.
namespace annuli::grow {

using optim::TensorState;

// The processes that hold the state in parts, each of the rows that it owns.
struct StateOwners {
  const RowOwners& parent;
  const RowOwners& child;
  parallel::ProcessGroup& group;
};

struct StateGrowth {
  OptimizerState optimizer = OptimizerState::kCarry;
  Dynamics dynamics = Dynamics::kPlain;
  const StateOwners* owners = nullptr;  // null: all of it is here
};

// One state per row of the child's table. Parent states, one per row of the
// parent's table, are consumed: each is released with its last use, and moved
// where the child's is the same.
//
// A tensor is carried (m times gradient_scale, v times its square, its step
// kept) where the recipe says so and `optimizer` is carry; otherwise it starts
// at zero with step 0. Parts keep the type they have: codes are widened to
// fp32, one tensor at a time, grown and coded anew, which is exact where the
// child's blocks are the parent's times a power of two; Adafactor's factors are
// grown as vectors, which is exact (the child's v is the parent's, copied). Of
// several parents nothing is carried; `parent` is the first's. Multipliers are
// the parent's; with `dynamics: exact` times the recipe's.
//
// Where processes hold the state in parts, all of them call this: who owns a
// child's row makes its parts, and gets the parent's from who owns those, one
// tensor at a time. Counters and multipliers are everybody's.
std::vector<TensorState> grow_state(const Recipe& recipe,
                                    std::vector<TensorState>&& parent,
                                    const StateGrowth& growth);

// The state of one tensor that is carried; its parts in memory of their own.
TensorState carried_state(const TensorRecipe& tensor,
                          const TensorState& parent);

}  // namespace annuli::grow

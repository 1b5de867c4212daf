#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/recipe.h"

// AdamW's state of one tensor, and how it follows a growth step.
namespace annuli::grow {

struct TensorState {
  at::Tensor m;      // undefined: zero, not yet allocated
  at::Tensor v;      // as m
  int64_t step = 0;  // updates so far; bias correction counts from here
  double lr_multiplier = 1;
  double eps_multiplier = 1;
  double weight_decay_multiplier = 1;
};

struct StateGrowth {
  OptimizerState optimizer = OptimizerState::kCarry;
  Dynamics dynamics = Dynamics::kPlain;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

// One state per row of the child's table, m and v defined. Parent states, one
// per row of the parent's table, are consumed: each is released with its last
// use, and moved where the child's is the same.
//
// A tensor is carried (m times gradient_scale, v times its square, its step
// kept) where the recipe says so and `optimizer` is carry; otherwise it starts
// at zero with step 0. Of several parents nothing is carried; `parent` is the
// first's. Multipliers are the parent's; with `dynamics: exact`
// times the recipe's.
std::vector<TensorState> grow_state(const Recipe& recipe,
                                    std::vector<TensorState>&& parent,
                                    const StateGrowth& growth);

}  // namespace annuli::grow

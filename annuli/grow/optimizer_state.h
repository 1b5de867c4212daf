#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/recipe.h"

// What an optimizer remembers of one tensor, and how it follows a growth step.
//
// A part that is undefined is zero and not yet allocated. `m` and `v` are
// numbers of the tensor's shape (fp32, fp64, bf16), or 8-bit codes of it with
// one scale for each block (kernels/quantize/block_quantization.h). Adafactor
// keeps v's row and column means instead of v itself. Which parts an optimizer
// has: train/state_layout.h.
namespace annuli::grow {

struct TensorState {
  at::Tensor m;         // first moment, or sgd's momentum
  at::Tensor m_scales;  // fp32, of m's blocks, if m is codes
  at::Tensor v;         // second moment
  at::Tensor v_scales;
  at::Tensor v_rows;     // fp32 [rows], Adafactor's factors of v
  at::Tensor v_columns;  // fp32 [columns]
  int64_t step = 0;      // updates so far; bias correction counts from here
  double lr_multiplier = 1;
  double eps_multiplier = 1;
  double weight_decay_multiplier = 1;
};

// Calls visit(name, tensor) for each part, defined or not. The names are those
// of files: "<part>.<tensor>".
template <typename State, typename Visit>
void visit_parts(State& state, const Visit& visit) {
  visit("m", state.m);
  visit("m_scales", state.m_scales);
  visit("v", state.v);
  visit("v_scales", state.v_scales);
  visit("v_rows", state.v_rows);
  visit("v_columns", state.v_columns);
}

// The shape of a part, by its name, of a tensor of this shape.
std::vector<int64_t> part_shape(std::string_view part,
                                const std::vector<int64_t>& tensor);

struct StateGrowth {
  OptimizerState optimizer = OptimizerState::kCarry;
  Dynamics dynamics = Dynamics::kPlain;
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
std::vector<TensorState> grow_state(const Recipe& recipe,
                                    std::vector<TensorState>&& parent,
                                    const StateGrowth& growth);

// The state of one tensor that is carried; its parts in memory of their own.
TensorState carried_state(const TensorRecipe& tensor,
                          const TensorState& parent);

}  // namespace annuli::grow

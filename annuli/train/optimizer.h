#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/rng.h"
#include "annuli/model/tensor_table.h"
#include "annuli/optim/tensor_state.h"

// The plan's optimizer over the rows of a model's tensor table.
//
// State: per row what optim/state_layout.h says, a step counter, and the
// multipliers on learning rate, eps and weight decay that growth may have left.
// Parts are made (zero), or brought into the plan's form, at a row's first
// update. Weight decay acts on matrices and tables, not on gains, unless a
// group of the plan says so. A row that a backward pass never reached (an
// expert no token chose) has gradient zero and is updated with it, like any
// other. One that has no gradient at all (a selection bias) is left as it is.
//
// Weights in bf16 are computed with in fp32 and rounded stochastically when
// they are stored, and so is bf16 state
// (kernels/quantize/stochastic_rounding.h). How an entry falls is a function of
// (seed, row's name, step, entry).
namespace annuli::train {

struct UpdateSettings {
  double learning_rate = 0;
  double weight_decay = 0;
  double gradient_scale = 1;  // the gradient is multiplied by it first
  uint64_t seed = 0;          // of stochastic rounding
};

class Optimizer {
 public:
  Optimizer(OptimizerPlan plan, size_t rows);
  Optimizer(OptimizerPlan plan, std::vector<optim::TensorState> states);

  // One update of one row. `gradient` may be undefined (zero). Returns the sum
  // of the squares of the gradient as it was given.
  double update(const TensorSpec& spec, size_t row, at::Tensor& weight,
                const at::Tensor& gradient, const UpdateSettings& settings);

  // What the row's last update is rounded by, where its weights are not stored
  // as `update` was given them.
  CounterRng rounding(const TensorSpec& spec, size_t row, uint64_t seed) const;

  // Counts an update of a row that another process makes, which has its parts.
  void skip(size_t row) { ++states_.at(row).step; }

  // Nothing is remembered of the row; multipliers stay.
  void forget(size_t row);

  const OptimizerPlan& plan() const { return plan_; }
  const std::vector<optim::TensorState>& states() const { return states_; }
  std::vector<optim::TensorState> take_states() { return std::move(states_); }

 private:
  OptimizerPlan plan_;
  std::vector<optim::TensorState> states_;
};

}  // namespace annuli::train

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/config/plan.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/model/transformer.h"

// AdamW over the rows of a model's tensor table.
//
// State: per row m, v, a step counter and the multipliers on learning rate, eps
// and weight decay that growth may have left. Moments are made (zero) at a
// row's first update. Weight decay acts on matrices and tables, not on gains.
// A row that a backward pass never reached (an expert no token chose) has
// gradient zero and is updated with it, like any other.
namespace annuli::train {

class Optimizer {
 public:
  Optimizer(OptimizerPlan plan, size_t rows);
  Optimizer(OptimizerPlan plan, std::vector<grow::TensorState> states);

  // One update of one row. `gradient` may be undefined (zero); it is multiplied
  // by `gradient_scale` first. `weight_decay` overrides the plan's.
  void update(const TensorSpec& spec, size_t row, at::Tensor& weight,
              const at::Tensor& gradient, double learning_rate,
              double weight_decay, double gradient_scale);

  const std::vector<grow::TensorState>& states() const { return states_; }
  std::vector<grow::TensorState> take_states() { return std::move(states_); }

 private:
  OptimizerPlan plan_;
  std::vector<grow::TensorState> states_;
};

}  // namespace annuli::train

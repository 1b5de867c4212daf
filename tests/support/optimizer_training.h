#pragma once

#include <vector>

#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/train/optimizer.h"

// A bare training loop with an optimizer of a plan, for tests of how its state
// grows: constant rate, weight decay 0.1, no clipping.
namespace annuli::tiny {

struct OptimizerTrainee {
  Transformer model;
  train::Optimizer optimizer;
};

// The model with `steps` steps behind it.
OptimizerTrainee trained(Transformer model, const OptimizerPlan& plan,
                         int64_t steps, double rate,
                         double router_aux_loss_coef = 0.01);

OptimizerTrainee copy(const OptimizerTrainee& original);

OptimizerTrainee grown(const OptimizerTrainee& parent,
                       const grow::Recipe& recipe,
                       const grow::StateGrowth& growth);

// The losses of `steps` steps, the first on batch number `first`, of four that
// are cycled through.
std::vector<double> train(OptimizerTrainee& trainee, int64_t first,
                          int64_t steps, double rate,
                          double router_aux_loss_coef = 0.01);

double largest_difference(const std::vector<double>& a,
                          const std::vector<double>& b);

}  // namespace annuli::tiny

#pragma once

#include <vector>

#include "annuli/model/transformer.h"
#include "annuli/optim/tensor_state.h"

// A bare training loop for the tests of growth's dynamics: AdamW on every
// tensor, constant rate, no clipping.
namespace annuli::tiny {

struct TrainingSetup {
  double learning_rate = 3e-3;
  double weight_decay = 0.1;
  double eps = 1e-4;
  double router_aux_loss_coef = 0.01;
  int64_t batches = 4;  // cycled through
};

struct Trainee {
  Transformer model;
  std::vector<optim::TensorState> states;
};

Trainee trainee(Transformer model);
Trainee copy(const Trainee& original);

// The losses of `steps` steps, the first on batch number `first_step`.
std::vector<double> train(Trainee& trainee, int64_t first_step, int64_t steps,
                          const TrainingSetup& setup);

}  // namespace annuli::tiny

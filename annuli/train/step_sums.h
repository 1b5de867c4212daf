#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/model/transformer.h"

namespace annuli::train {

// What a step sums beside its gradients, of one pass or of several. Losses and
// means are in shares of the whole step, so that the sum over all its passes is
// the mean.
struct StepSums {
  double loss = 0;                         // cross-entropy
  double aux_loss = 0;                     // 0 if dense
  double z_loss = 0;                       // 0 if dense
  std::vector<std::vector<int64_t>> load;  // [L][E] slots, empty if dense
  std::vector<at::Tensor> router_mean;     // [L] of [D], empty if dense
  std::vector<double> stream_squares;      // [L], empty unless measured

  // Those of the passes that follow these.
  void add(const StepSums& next);
};

// Of two nodes of a tree, one after the other.
StepSums sum_of_nodes(StepSums node, const StepSums& next);

// Those of one pass, which is `share` of the step.
StepSums sums_of(const Loss& loss, double share);

}  // namespace annuli::train

#include "annuli/train/step_sums.h"

#include <ATen/TensorOperators.h>

#include <cstddef>

namespace annuli::train {

void StepSums::add(const StepSums& next) {
  loss += next.loss;
  aux_loss += next.aux_loss;
  z_loss += next.z_loss;
  for (size_t layer = 0; layer < load.size(); ++layer) {
    for (size_t e = 0; e < load[layer].size(); ++e) {
      load[layer][e] += next.load[layer][e];
    }
  }
  for (size_t layer = 0; layer < router_mean.size(); ++layer) {
    router_mean[layer] += next.router_mean[layer];
  }
  for (size_t layer = 0; layer < stream_squares.size(); ++layer) {
    stream_squares[layer] += next.stream_squares[layer];
  }
}

StepSums sum_of_nodes(StepSums node, const StepSums& next) {
  node.add(next);
  return node;
}

StepSums sums_of(const Loss& loss, double share) {
  StepSums sums;
  sums.loss = share * loss.cross_entropy.item<double>();
  for (const double squares : loss.stream_squares) {
    sums.stream_squares.push_back(share * squares);
  }
  if (!loss.aux.defined()) return sums;
  sums.aux_loss = share * loss.aux.item<double>();
  sums.z_loss = share * loss.z.item<double>();
  sums.load = loss.load;
  for (const at::Tensor& mean : loss.router_mean) {
    sums.router_mean.push_back(mean * share);
  }
  return sums;
}

}  // namespace annuli::train

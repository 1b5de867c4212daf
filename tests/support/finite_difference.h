#pragma once

#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <vector>

#include "tests/support/tensor_checks.h"

namespace annuli::test {

// With entries and derivatives of f near 1, central differences of step
// h = 1e-5 in fp64 are off by about h^2 / 6 = 2e-11 (the third derivative) plus
// 2^-53 |f| / h = 1e-11 times a sum of some hundred terms: 1e-9. Ten times
// that for unlucky third derivatives.
constexpr double kFiniteDifferenceTolerance = 1e-8;

// The worst relative error, over the inputs, of autograd's gradient of
// sum(weights * f) against central differences. fp64 inputs, small ones: every
// entry costs two calls.
inline double finite_difference_error(const TensorFunction& f,
                                      const std::vector<at::Tensor>& inputs) {
  constexpr double kStep = 1e-5;
  const ValueAndGradients exact = value_and_gradients(f, inputs);
  at::Tensor weights = random_tensor(exact.value.sizes(), "weights");
  auto weighted = [&] { return (f(inputs) * weights).sum().item<double>(); };
  double worst = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    at::Tensor numeric = at::empty_like(inputs[i]);
    double* entry = inputs[i].mutable_data_ptr<double>();
    double* slope = numeric.mutable_data_ptr<double>();
    for (int64_t j = 0; j < inputs[i].numel(); ++j) {
      const double kept = entry[j];
      entry[j] = kept + kStep;
      const double above = weighted();
      entry[j] = kept - kStep;
      const double below = weighted();
      entry[j] = kept;
      slope[j] = (above - below) / (2 * kStep);
    }
    worst = std::max(worst, relative_error(exact.gradients[i], numeric));
  }
  return worst;
}

}  // namespace annuli::test

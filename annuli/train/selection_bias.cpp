#include "annuli/train/selection_bias.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <numeric>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

// 1 below the mean, -1 above it.
std::vector<double> directions(const std::vector<int64_t>& slots) {
  const auto E = static_cast<int64_t>(slots.size());
  const int64_t sum = std::accumulate(slots.begin(), slots.end(), int64_t{0});
  std::vector<double> signs;
  for (const int64_t load : slots) {
    signs.push_back(static_cast<double>(static_cast<int>(E * load < sum) -
                                        static_cast<int>(E * load > sum)));
  }
  return signs;
}

}  // namespace

void move_selection_biases(Transformer& model,
                           const std::vector<std::vector<int64_t>>& load,
                           double rate,
                           const std::function<bool(size_t row)>& holds) {
  for (size_t layer = 0; layer < load.size(); ++layer) {
    const int64_t row =
        model.index().row(Part::kSelectionBias, static_cast<int64_t>(layer));
    ANNULI_CHECK(row >= 0, "layer {} has no selection bias", layer);
    if (!holds(static_cast<size_t>(row))) continue;
    at::Tensor bias = model.weight(row).detach();
    bias.add_(at::tensor(directions(load[layer])).to(bias.options()), rate);
  }
}

}  // namespace annuli::train

#include "annuli/verify/drawn_anew.h"

#include <ATen/ops/index_fill.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "annuli/grow/transforms/drop.h"
#include "annuli/verify/axis_layout.h"

namespace annuli::verify {

at::Tensor drawn_anew(const grow::TensorRecipe& recipe, int64_t dimension,
                      uint64_t seed) {
  const auto* stated = recipe.find<grow::Drop>();
  if (stated == nullptr || stated->dimension != dimension) return {};
  const std::vector<grow::TensorRecipe> steps =
      recipe.steps.empty() ? std::vector{recipe} : recipe.steps;
  at::Tensor drawn;
  for (const grow::TensorRecipe& step : steps) {
    const int64_t size = step.shape.at(dimension);
    drawn =
        drawn.defined()
            ? lay_out(drawn, 0, step.dimensions.at(dimension).slices).clone()
            : at::zeros({size}, at::kDouble);
    const auto* drop = step.find<grow::Drop>();
    if (drop == nullptr) continue;
    drawn.index_fill_(0, at::tensor(grow::dropped_units(*drop, size, seed)), 1);
  }
  return drawn;
}

}  // namespace annuli::verify

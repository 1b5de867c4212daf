#include "annuli/grow/optimizer_state.h"

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/parent_rows.h"
#include "annuli/kernels/owned_memory.h"

namespace annuli::grow {
namespace {

void set_multipliers(const TensorRecipe& tensor, const TensorState* parent,
                     Dynamics dynamics, TensorState& child) {
  if (parent != nullptr) {
    child.lr_multiplier = parent->lr_multiplier;
    child.eps_multiplier = parent->eps_multiplier;
    child.weight_decay_multiplier = parent->weight_decay_multiplier;
  }
  if (dynamics != Dynamics::kExact) return;
  child.lr_multiplier *= tensor.lr_multiplier;
  child.eps_multiplier *= tensor.eps_multiplier;
  child.weight_decay_multiplier *= tensor.weight_decay_multiplier;
}

at::Tensor carried(const TensorRecipe& tensor, at::Tensor& parent, bool last,
                   int power, const StateGrowth& growth) {
  if (!parent.defined()) {
    return kernels::owned_zeros(tensor.shape, growth.dtype, growth.device);
  }
  const bool same = tensor.is_identity() && tensor.gradient_scale == 1 &&
                    parent.scalar_type() == growth.dtype &&
                    parent.device() == growth.device;
  at::Tensor child = last && same ? std::move(parent)
                                  : apply(moment_recipe(tensor, power), parent,
                                          0, growth.dtype)
                                        .to(growth.device);
  if (last) parent.reset();
  return child;
}

TensorState from_zero(const TensorRecipe& tensor, const StateGrowth& growth) {
  return {.m = kernels::owned_zeros(tensor.shape, growth.dtype, growth.device),
          .v = kernels::owned_zeros(tensor.shape, growth.dtype, growth.device)};
}

TensorState from_parent(const TensorRecipe& tensor, TensorState& parent,
                        bool last, const StateGrowth& growth) {
  return {.m = carried(tensor, parent.m, last, /*power=*/1, growth),
          .v = carried(tensor, parent.v, last, /*power=*/2, growth),
          .step = parent.step};
}

TensorState child_state(const TensorRecipe& tensor, ParentRows& rows,
                        std::vector<TensorState>& parent,
                        const StateGrowth& growth) {
  if (tensor.source != Source::kParent) return from_zero(tensor, growth);
  const size_t row = rows.row(tensor.parent);
  const bool of_first = std::ranges::count(tensor.models, 0) > 0;
  const bool last = of_first && rows.use(row);
  if (tensor.carry_state && growth.optimizer == OptimizerState::kCarry) {
    return from_parent(tensor, parent[row], last, growth);
  }
  if (last) {
    parent[row].m.reset();
    parent[row].v.reset();
  }
  return from_zero(tensor, growth);
}

}  // namespace

std::vector<TensorState> grow_state(const Recipe& recipe,
                                    std::vector<TensorState>&& parent,
                                    const StateGrowth& growth) {
  ParentRows rows(recipe);
  ANNULI_CHECK(parent.size() == rows.size(), "{} states for {} tensors",
               parent.size(), rows.size());
  for (size_t row : rows.unused()) {
    parent[row].m.reset();
    parent[row].v.reset();
  }
  std::vector<TensorState> child;
  child.reserve(recipe.tensors.size());
  for (const TensorRecipe& tensor : recipe.tensors) {
    child.push_back(child_state(tensor, rows, parent, growth));
    const TensorState* settings = tensor.settings_from.empty()
                                      ? nullptr
                                      : &parent[rows.row(tensor.settings_from)];
    set_multipliers(tensor, settings, growth.dynamics, child.back());
  }
  return child;
}

}  // namespace annuli::grow

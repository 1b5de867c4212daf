#include "annuli/grow/optimizer_state.h"

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
                   double scale, const StateGrowth& growth) {
  if (!parent.defined()) {
    return kernels::owned_zeros(tensor.shape, growth.dtype, growth.device);
  }
  const bool same = tensor.is_identity() && scale == 1 &&
                    parent.scalar_type() == growth.dtype &&
                    parent.device() == growth.device;
  at::Tensor child =
      last && same
          ? std::move(parent)
          : tile(tensor, parent, scale, growth.dtype).to(growth.device);
  if (last) parent.reset();
  return child;
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
    TensorState& state = child.emplace_back();
    TensorState* settings = tensor.settings_from.empty()
                                ? nullptr
                                : &parent[rows.row(tensor.settings_from)];
    set_multipliers(tensor, settings, growth.dynamics, state);
    TensorState* source = tensor.source == Source::kParent
                              ? &parent[rows.row(tensor.parent)]
                              : nullptr;
    const bool last = source != nullptr && rows.use(rows.row(tensor.parent));
    if (source != nullptr && tensor.carry_state &&
        growth.optimizer == OptimizerState::kCarry) {
      const double scale = tensor.gradient_scale;
      state.m = carried(tensor, source->m, last, scale, growth);
      state.v = carried(tensor, source->v, last, scale * scale, growth);
      state.step = source->step;
      continue;
    }
    if (last) {
      source->m.reset();
      source->v.reset();
    }
    state.m = kernels::owned_zeros(tensor.shape, growth.dtype, growth.device);
    state.v = kernels::owned_zeros(tensor.shape, growth.dtype, growth.device);
  }
  return child;
}

}  // namespace annuli::grow

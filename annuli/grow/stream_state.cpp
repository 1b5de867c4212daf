#include "annuli/grow/stream_state.h"

#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/shard_stream.h"

namespace annuli::grow {
namespace {

// Of several parents only the first's state is at hand.
bool is_of_first(const TensorRecipe& tensor) {
  return tensor.models.size() == 1 && tensor.models.front() == 0;
}

bool is_carried(const TensorRecipe& tensor, const OptimizerFile& parent,
                const StatePlan& plan) {
  return plan.optimizer == OptimizerState::kCarry && tensor.carry_state &&
         tensor.source == Source::kParent && is_of_first(tensor) &&
         parent.rows().contains(tensor.parent);
}

bool has_moments(const TensorRecipe& tensor, const OptimizerFile& parent,
                 const StatePlan& plan) {
  return is_carried(tensor, parent, plan) && parent.has_moments(tensor.parent);
}

OptimizerRow row_of(const TensorRecipe& tensor, const OptimizerFile& parent,
                    const StatePlan& plan) {
  OptimizerRow row;
  const auto settings = parent.rows().find(tensor.settings_from);
  if (settings != parent.rows().end()) row = settings->second;
  row.step = is_carried(tensor, parent, plan)
                 ? parent.rows().at(tensor.parent).step
                 : 0;
  if (plan.dynamics == Dynamics::kExact) {
    row.lr_multiplier *= tensor.lr_multiplier;
    row.eps_multiplier *= tensor.eps_multiplier;
    row.weight_decay_multiplier *= tensor.weight_decay_multiplier;
  }
  return row;
}

// m follows the gradient, v its square.
RowMaker moment_rows(const TensorRecipe& tensor, const OptimizerFile& parent,
                     char which, at::ScalarType dtype) {
  return RowMaker(moment_recipe(tensor, which == 'm' ? 1 : 2),
                  parent.moment(which, tensor.parent), 0, dtype);
}

}  // namespace

std::vector<TensorEntry> plan_state(const Recipe& recipe,
                                    const OptimizerFile& parent,
                                    const StatePlan& plan) {
  std::vector<TensorEntry> entries;
  for (const TensorRecipe& tensor : recipe.tensors) {
    if (!has_moments(tensor, parent, plan)) continue;
    for (const char* which : {"m.", "v."}) {
      entries.push_back(
          {.name = which + tensor.child,
           .dtype = parent.tensors().entry(which + tensor.parent).dtype,
           .shape = tensor.shape});
    }
  }
  return entries;
}

void stream_state(const Recipe& recipe, const OptimizerFile& parent,
                  const StatePlan& plan, const fs::path& folder) {
  OptimizerRows rows;
  std::vector<const TensorRecipe*> carried;  // two entries each
  for (const TensorRecipe& tensor : recipe.tensors) {
    rows[tensor.child] = row_of(tensor, parent, plan);
    if (has_moments(tensor, parent, plan)) carried.push_back(&tensor);
  }
  // One file, however large.
  std::vector<Shard> shards =
      plan_shards(plan_state(recipe, parent, plan), INT64_MAX);
  if (shards.empty()) shards.emplace_back();
  shards[0].file = kOptimizerTensors;
  Progress progress("growing the optimizer's state", total_bytes(shards),
                    ProgressUnit::kBytes);
  write_shards(
      folder, shards, {},
      [&](size_t index) {
        const TensorRecipe& tensor = *carried.at(index / 2);
        parent.tensors().drop_resident();
        return moment_rows(tensor, parent, index % 2 == 0 ? 'm' : 'v',
                           shards[0].entries[index].dtype);
      },
      progress);
  write_optimizer_rows(folder, rows);
}

}  // namespace annuli::grow

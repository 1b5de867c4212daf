#include "annuli/grow/stream_state.h"

#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/shard_stream.h"

namespace annuli::grow {
namespace {

bool is_carried(const TensorRecipe& tensor, const OptimizerFile& parent,
                const StateGrowth& plan) {
  return carries_state(tensor, plan) && parent.rows().contains(tensor.parent);
}

OptimizerRow row_of(const TensorRecipe& tensor, const OptimizerFile& parent,
                    const StateGrowth& plan) {
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
    row.row_copies *= tensor.row_copies;
    row.column_copies *= tensor.column_copies;
  }
  return row;
}

TensorState parts_of(const OptimizerFile& file, const std::string& tensor) {
  TensorState state;
  visit_parts(state, [&](const char* name, at::Tensor& part) {
    part = file.part(name, tensor);
  });
  return state;
}

// A part of a tensor that is carried.
struct Part {
  const TensorRecipe* tensor;
  std::string name;
};

std::vector<Part> carried_parts(const Recipe& recipe,
                                const OptimizerFile& parent,
                                const StateGrowth& plan) {
  std::vector<Part> parts;
  for (const TensorRecipe& tensor : recipe.tensors) {
    if (!is_carried(tensor, parent, plan)) continue;
    for (const char* name : optim::part_names()) {
      if (parent.tensors().contains(
              fmt::format("{}.{}", name, tensor.parent))) {
        parts.push_back({&tensor, name});
      }
    }
  }
  return parts;
}

// Makes the parts one after the other; those that cannot be made row by row are
// made for a whole tensor at once.
class PartMaker {
 public:
  explicit PartMaker(const OptimizerFile& parent) : parent_(parent) {}

  RowMaker rows(const Part& part) {
    const TensorRecipe& tensor = *part.tensor;
    const bool is_moment = part.name == "m" || part.name == "v";
    const at::Tensor read = parent_.part(part.name, tensor.parent);
    if (is_moment && at::isFloatingType(read.scalar_type())) {
      return {moment_recipe(tensor, part.name == "m" ? 1 : 2), read, 0,
              read.scalar_type()};
    }
    if (made_of_ != &tensor) {
      made_ = carried_state(tensor, parts_of(parent_, tensor.parent));
      made_of_ = &tensor;
    }
    at::Tensor made;
    visit_parts(made_, [&](const char* name, at::Tensor& tensor_part) {
      if (part.name == name) made = tensor_part;
    });
    return RowMaker(made);
  }

 private:
  const OptimizerFile& parent_;
  const TensorRecipe* made_of_ = nullptr;
  TensorState made_;
};

}  // namespace

bool carries_state(const TensorRecipe& tensor, const StateGrowth& plan) {
  const bool of_first = tensor.models.size() == 1 && tensor.models.front() == 0;
  return plan.optimizer == OptimizerState::kCarry && tensor.carry_state &&
         tensor.source == Source::kParent && of_first;
}

std::vector<TensorEntry> plan_state(const Recipe& recipe,
                                    const OptimizerFile& parent,
                                    const StateGrowth& plan) {
  std::vector<TensorEntry> entries;
  for (const Part& part : carried_parts(recipe, parent, plan)) {
    const std::string read = part.name + "." + part.tensor->parent;
    entries.push_back(
        {.name = part.name + "." + part.tensor->child,
         .dtype = parent.tensors().entry(read).dtype,
         .shape = optim::part_shape(part.name, part.tensor->shape)});
  }
  return entries;
}

void stream_state(const Recipe& recipe, const OptimizerFile& parent,
                  const StateGrowth& plan, const fs::path& folder,
                  parallel::ProcessGroup& group) {
  OptimizerRows rows;
  for (const TensorRecipe& tensor : recipe.tensors) {
    rows[tensor.child] = row_of(tensor, parent, plan);
  }
  const std::vector<Part> parts = carried_parts(recipe, parent, plan);
  // One file, however large.
  std::vector<Shard> shards =
      plan_shards(plan_state(recipe, parent, plan), INT64_MAX);
  if (shards.empty()) shards.emplace_back();
  shards[0].file = kOptimizerTensors;
  Progress progress("growing the optimizer's state", total_bytes(shards),
                    ProgressUnit::kBytes);
  PartMaker maker(parent);
  write_shards(
      folder, shards, {},
      [&](size_t index) {
        parent.tensors().drop_resident();
        return maker.rows(parts.at(index));
      },
      progress, group);
  if (group.is_first()) write_optimizer_rows(folder, rows, parent.optimizer());
}

}  // namespace annuli::grow

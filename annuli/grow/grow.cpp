#include "annuli/grow/grow.h"

#include <ATen/ops/empty.h>

#include <memory>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/progress.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/parent_rows.h"
#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/kernels/quantize/weight_codes.h"
#include "annuli/model/weight_parts.h"

namespace annuli::grow {
namespace {

using Means = std::vector<at::Tensor>;
using Parents = std::vector<Transformer*>;

at::Tensor mean_for(const TensorRecipe& tensor, const Means& router_mean) {
  const bool is_made = tensor.source == Source::kRandomRouter;
  if (!is_made || router_mean.empty() || tensor.layer < 0) return {};
  return router_mean.at(tensor.layer);
}

// Who makes a child's tensor: every process, or where they hold the model in
// parts, who will own it.
struct Maker {
  const WeightParts* parts;  // the child's; null: every process
  size_t row;                // of the child

  bool is_here() const {
    return parts == nullptr || parts->is_own(row) || parts->is_with_all(row);
  }
  at::Tensor read(const Transformer& parent, size_t parent_row) const {
    const bool with_all = parts != nullptr && parts->is_with_all(row);
    if (parent.is_coded(parent_row)) return parent.read_weight(parent_row);
    if (parent.parts() == nullptr || with_all) return parent.weight(parent_row);
    return parent.parts()->read_at(parts->owners().owner(row), parent,
                                   parent_row);
  }
};

// The tensor of each of the recipe's models; taken out of those that have no
// further use of it.
std::vector<at::Tensor> sources(const TensorRecipe& tensor, const Maker& maker,
                                const Parents& parents, ParentRows& rows,
                                bool& last) {
  std::vector<at::Tensor> found;
  const size_t row = rows.row(tensor.parent);
  for (int64_t model : tensor.models) {
    ANNULI_CHECK(parents.at(model)->weight(row).defined(),
                 "{} is not initialised", tensor.parent);
    last = rows.use(row, model);
    found.push_back(maker.read(*parents[model], row));
    if (last) parents[model]->take_weight(row);
  }
  return found;
}

// A tensor of the child, without memory where another process makes it.
at::Tensor made_elsewhere(const Transformer& child, size_t row) {
  at::Tensor tensor =
      at::empty(child.table()[row].shape(), at::TensorOptions()
                                                .dtype(child.weight_dtype(row))
                                                .device(child.device()));
  kernels::give_up_memory(tensor);
  return tensor;
}

at::Tensor child_tensor(const TensorRecipe& tensor, at::ScalarType dtype,
                        const Maker& maker, const Recipe& recipe,
                        const Parents& parents, ParentRows& rows,
                        const Means& router_mean) {
  std::vector<at::Tensor> read;
  bool last = false;
  if (tensor.source == Source::kParent) {
    read = sources(tensor, maker, parents, rows, last);
  }
  if (!maker.is_here()) return {};
  if (last && tensor.is_identity()) return read[0];
  return apply(tensor, read, recipe.seed, dtype, mean_for(tensor, router_mean))
      .to(parents[0]->device());
}

void check_parents(const Parents& parents, const Recipe& recipe) {
  ANNULI_CHECK(static_cast<int64_t>(parents.size()) == recipe.models,
               "{} parents, expected {}", parents.size(), recipe.models);
  for (const Transformer* parent : parents) {
    ANNULI_CHECK(parent->config() == recipe.parent &&
                     parent->numbers() == parents[0]->numbers() &&
                     parent->device() == parents[0]->device(),
                 "the recipe is for another parent");
  }
}

Transformer grow_all(const Parents& parents, const Recipe& recipe,
                     const Means& router_mean) {
  check_parents(parents, recipe);
  ParentRows rows(recipe);
  for (int64_t model = 0; model < recipe.models; ++model) {
    for (size_t row : rows.unused(model)) parents[model]->take_weight(row);
  }
  Transformer child(recipe.child, parents[0]->numbers(), parents[0]->device());
  ANNULI_CHECK(child.table().size() == recipe.tensors.size(),
               "the child has {} tensors, the recipe of {} has {}",
               child.table().size(), recipe.op, recipe.tensors.size());
  std::shared_ptr<const WeightParts> parts;
  if (parents[0]->parts() != nullptr) {
    parts = std::make_shared<const WeightParts>(child.table(),
                                                parents[0]->parts()->group());
  }
  Progress progress("growing", std::ssize(recipe.tensors));
  for (size_t row = 0; row < recipe.tensors.size(); ++row) {
    ANNULI_CHECK(child.table()[row].name == recipe.tensors[row].child,
                 "tensor {} of the child is {}, of the recipe {}", row,
                 child.table()[row].name, recipe.tensors[row].child);
    const at::Tensor made =
        child_tensor(recipe.tensors[row], child.weight_dtype(row),
                     {parts.get(), row}, recipe, parents, rows, router_mean);
    ANNULI_CHECK(!child.is_coded(row) ||
                     (recipe.tensors[row].coded && kernels::are_codes(made)),
                 "{} is no tensor of codes", recipe.tensors[row].child);
    child.set_weight(row, made.defined() ? made : made_elsewhere(child, row));
    progress.advance();
  }
  if (parts != nullptr) {
    parts->give_outside(child);
    child.set_parts(std::move(parts));
  }
  return child;
}

}  // namespace

Transformer grow(Transformer&& parent, const Recipe& recipe,
                 const Means& router_mean) {
  return grow_all({&parent}, recipe, router_mean);
}

Transformer grow(std::vector<Transformer>&& parents, const Recipe& recipe,
                 const Means& router_mean) {
  Parents all;
  for (Transformer& parent : parents) all.push_back(&parent);
  return grow_all(all, recipe, router_mean);
}

}  // namespace annuli::grow

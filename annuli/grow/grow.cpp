#include "annuli/grow/grow.h"

#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/parent_rows.h"

namespace annuli::grow {
namespace {

using Means = std::vector<at::Tensor>;
using Parents = std::vector<Transformer*>;

at::Tensor mean_for(const TensorRecipe& tensor, const Means& router_mean) {
  const bool is_made = tensor.source == Source::kRandomRouter;
  if (!is_made || router_mean.empty() || tensor.layer < 0) return {};
  return router_mean.at(tensor.layer);
}

// The tensor of each of the recipe's models; taken out of those that have no
// further use of it.
std::vector<at::Tensor> sources(const TensorRecipe& tensor,
                                const Parents& parents, ParentRows& rows,
                                bool& last) {
  std::vector<at::Tensor> found;
  const size_t row = rows.row(tensor.parent);
  for (int64_t model : tensor.models) {
    ANNULI_CHECK(parents.at(model)->weight(row).defined(),
                 "{} is not initialised", tensor.parent);
    last = rows.use(row, model);
    found.push_back(last ? parents[model]->take_weight(row)
                         : parents[model]->weight(row));
  }
  return found;
}

at::Tensor child_tensor(const TensorRecipe& tensor, const Recipe& recipe,
                        const Parents& parents, ParentRows& rows,
                        const Means& router_mean) {
  std::vector<at::Tensor> read;
  if (tensor.source == Source::kParent) {
    bool last = false;
    read = sources(tensor, parents, rows, last);
    if (last && tensor.is_identity()) return read[0];
  }
  return apply(tensor, read, recipe.seed, parents[0]->weight_dtype(),
               mean_for(tensor, router_mean))
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
  for (size_t row = 0; row < recipe.tensors.size(); ++row) {
    ANNULI_CHECK(child.table()[row].name == recipe.tensors[row].child,
                 "tensor {} of the child is {}, of the recipe {}", row,
                 child.table()[row].name, recipe.tensors[row].child);
    child.set_weight(row, child_tensor(recipe.tensors[row], recipe, parents,
                                       rows, router_mean));
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

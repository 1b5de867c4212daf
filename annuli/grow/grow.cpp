#include "annuli/grow/grow.h"

#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/parent_rows.h"

namespace annuli::grow {
namespace {

at::Tensor mean_for(const TensorRecipe& tensor,
                    const std::vector<at::Tensor>& router_mean) {
  if (tensor.source != Source::kRandomRouter || router_mean.empty()) return {};
  return router_mean.at(tensor.layer);
}

at::Tensor child_tensor(const TensorRecipe& tensor, const Recipe& recipe,
                        Transformer& parent, ParentRows& rows,
                        const std::vector<at::Tensor>& router_mean) {
  const auto applied = [&](const at::Tensor& source) {
    return apply(tensor, source, recipe.seed, parent.dtype(),
                 mean_for(tensor, router_mean))
        .to(parent.device());
  };
  if (tensor.source != Source::kParent) return applied({});
  const size_t row = rows.row(tensor.parent);
  ANNULI_CHECK(parent.weight(row).defined(), "{} is not initialised",
               tensor.parent);
  if (!rows.use(row)) return applied(parent.weight(row));
  at::Tensor last = parent.take_weight(row);
  return tensor.is_identity() ? last : applied(last);
}

}  // namespace

Transformer grow(Transformer&& parent, const Recipe& recipe,
                 const std::vector<at::Tensor>& router_mean) {
  ANNULI_CHECK(parent.config() == recipe.parent,
               "the recipe is for another parent");
  ParentRows rows(recipe);
  for (size_t row : rows.unused()) parent.take_weight(row);
  Transformer child(recipe.child, parent.dtype(), parent.device());
  ANNULI_CHECK(child.table().size() == recipe.tensors.size());
  for (size_t row = 0; row < recipe.tensors.size(); ++row) {
    ANNULI_CHECK(child.table()[row].name == recipe.tensors[row].child);
    child.set_weight(row, child_tensor(recipe.tensors[row], recipe, parent,
                                       rows, router_mean));
  }
  return child;
}

}  // namespace annuli::grow

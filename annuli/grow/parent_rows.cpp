#include "annuli/grow/parent_rows.h"

#include "annuli/core/error.h"
#include "annuli/model/tensor_table.h"

namespace annuli::grow {

ParentRows::ParentRows(const Recipe& recipe) {
  for (const TensorSpec& spec : tensor_table(recipe.parent)) {
    row_of_.emplace(spec.name, row_of_.size());
  }
  uses_.assign(recipe.models, std::vector<int64_t>(row_of_.size()));
  for (const TensorRecipe& tensor : recipe.tensors) {
    if (tensor.source != Source::kParent) continue;
    for (int64_t model : tensor.models) ++uses_.at(model)[row(tensor.parent)];
  }
}

size_t ParentRows::row(const std::string& name) const {
  const auto found = row_of_.find(name);
  ANNULI_CHECK(found != row_of_.end(), "the parent has no tensor '{}'", name);
  return found->second;
}

bool ParentRows::use(size_t row, int64_t model) {
  int64_t& uses = uses_.at(model).at(row);
  ANNULI_CHECK(uses > 0, "row {} used too often", row);
  return --uses == 0;
}

std::vector<size_t> ParentRows::unused(int64_t model) const {
  std::vector<size_t> rows;
  for (size_t row = 0; row < size(); ++row) {
    if (uses_.at(model)[row] == 0) rows.push_back(row);
  }
  return rows;
}

}  // namespace annuli::grow

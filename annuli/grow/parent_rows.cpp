#include "annuli/grow/parent_rows.h"

#include "annuli/core/error.h"
#include "annuli/model/tensor_table.h"

namespace annuli::grow {

ParentRows::ParentRows(const Recipe& recipe) {
  for (const TensorSpec& spec : tensor_table(recipe.parent)) {
    row_of_.emplace(spec.name, uses_.size());
    uses_.push_back(0);
  }
  for (const TensorRecipe& tensor : recipe.tensors) {
    if (tensor.source == Source::kParent) ++uses_[row(tensor.parent)];
  }
}

size_t ParentRows::row(const std::string& name) const {
  const auto found = row_of_.find(name);
  ANNULI_CHECK(found != row_of_.end(), "the parent has no tensor '{}'", name);
  return found->second;
}

bool ParentRows::use(size_t row) {
  ANNULI_CHECK(uses_.at(row) > 0, "row {} used too often", row);
  return --uses_[row] == 0;
}

std::vector<size_t> ParentRows::unused() const {
  std::vector<size_t> rows;
  for (size_t row = 0; row < uses_.size(); ++row) {
    if (uses_[row] == 0) rows.push_back(row);
  }
  return rows;
}

}  // namespace annuli::grow

#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/grow/recipe.h"

// How often each row of each parent is still to be read while a recipe is
// carried out, child row by child row: a parent tensor is released after its
// last use, so that two whole models never exist at once.
namespace annuli::grow {

class ParentRows {
 public:
  explicit ParentRows(const Recipe& recipe);

  // Rows of one parent.
  size_t size() const { return uses_[0].size(); }
  // The row of a parent's name.
  size_t row(const std::string& name) const;
  // Counts one use of the row off; true if it was the last.
  bool use(size_t row, int64_t model = 0);
  // Rows that no child tensor reads.
  std::vector<size_t> unused(int64_t model = 0) const;

 private:
  std::unordered_map<std::string, size_t> row_of_;
  std::vector<std::vector<int64_t>> uses_;  // [model][row]
};

}  // namespace annuli::grow

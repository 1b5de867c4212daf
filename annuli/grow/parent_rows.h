#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/grow/recipe.h"

// How often each row of the parent is still to be read while a recipe is
// carried out, child row by child row: a parent tensor is released after its
// last use, so that two whole models never exist at once.
namespace annuli::grow {

class ParentRows {
 public:
  explicit ParentRows(const Recipe& recipe);

  size_t size() const { return uses_.size(); }
  // The row of a parent's name.
  size_t row(const std::string& name) const;
  // Counts one use of the row off; true if it was the last.
  bool use(size_t row);
  // Rows that no child tensor reads.
  std::vector<size_t> unused() const;

 private:
  std::unordered_map<std::string, size_t> row_of_;
  std::vector<int64_t> uses_;
};

}  // namespace annuli::grow

#pragma once

#include <cstddef>
#include <vector>

#include "annuli/model/tensor_table.h"

// The rows of a tensor table by the part of the forward pass that reads them:
// stage 0 is the embedding, stage l + 1 layer l, the last one the final norm
// and the head. A backward pass completes the gradients of a stage's rows
// before those of the stages below it.
namespace annuli {

class RowStages {
 public:
  explicit RowStages(const TensorTable& table);

  size_t size() const { return rows_.size(); }
  size_t stage(size_t row) const { return stages_[row]; }
  // In the order of the table.
  const std::vector<size_t>& rows(size_t stage) const { return rows_[stage]; }

 private:
  std::vector<size_t> stages_;             // per row
  std::vector<std::vector<size_t>> rows_;  // per stage
};

}  // namespace annuli

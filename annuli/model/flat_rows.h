#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/model/tensor_table.h"

namespace annuli {

// A stretch of one row within a stretch of entries.
struct Piece {
  size_t row = 0;
  int64_t in_row = 0;  // where it begins in the row
  int64_t at = 0;      // and in the stretch
  int64_t count = 0;

  // Of the row's tensor, which is contiguous; a view.
  at::Tensor of(const at::Tensor& tensor) const {
    return tensor.view(-1).narrow(0, in_row, count);
  }
};

// Rows of a tensor table, their entries laid end to end in the order given:
// what is sent in buckets of equal size, which may cut a row.
class FlatRows {
 public:
  FlatRows(const TensorTable& table, std::vector<size_t> rows);

  int64_t entries() const { return entries_; }

  // The entries [begin, end), row by row; what is beyond the last is left out.
  std::vector<Piece> pieces(int64_t begin, int64_t end) const;

 private:
  std::vector<size_t> rows_;
  std::vector<int64_t> starts_;  // of each row
  std::vector<int64_t> counts_;
  int64_t entries_ = 0;
};

}  // namespace annuli

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"

namespace annuli::grow {

// A block of a parent matrix, or of the mean of several, that is read row by
// row: whole parents may be larger than memory.
//
// Guarantees: values are the parents' (their mean in fp64), rounded once to the
// type asked for; where one parent has that type already, `read` copies
// nothing.
class ParentBlock {
 public:
  // parents: matrices of one shape, any floating type, any device.
  ParentBlock(at::TensorList parents, Slice rows, Slice cols);

  int64_t rows() const { return views_.front().size(0); }
  int64_t cols() const { return views_.front().size(1); }

  // Rows [begin, end) on the CPU; entries of a row lie side by side.
  at::Tensor read(int64_t begin, int64_t end, at::ScalarType dtype) const;
  // Of a single parent, by entry: the distance of its codes
  // (kernels/quantize/weight_codes.h), which its whole row decides.
  at::Tensor read_steps(int64_t begin, int64_t end, at::ScalarType dtype) const;

 private:
  std::vector<at::Tensor> views_;
  at::Tensor whole_rows_;  // of the first parent
  int64_t first_column_;
};

}  // namespace annuli::grow

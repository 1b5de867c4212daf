#pragma once

#include <cstdint>
#include <vector>

#include "annuli/grow/row_source.h"

// The plain copy: slices of a parent's tensor (of the mean of several), times
// the line's scale, each entry rounded once to what is stored; zeros where an
// entry is new.
namespace annuli::grow {

RowSourcePtr copied_rows(const RowContext& context);

// A run of slices of one dimension, and where each begins in the child.
struct PlacedSlices {
  std::vector<Slice> slices;
  std::vector<int64_t> starts;
};

// A line as a matrix; a vector is a matrix of one row.
struct LineLayout {
  PlacedSlices rows;
  PlacedSlices columns;
  int64_t child_columns;
};

// Checks that the slices lie within the parent and fill the child.
LineLayout layout_of(const RowContext& context);

// The line's parents as matrices.
std::vector<at::Tensor> parent_matrices(const RowContext& context);

}  // namespace annuli::grow

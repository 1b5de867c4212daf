#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "annuli/grow/recipe.h"

// Where RowMaker's rows come from: slices of parents, zeros, or what is held;
// and then one transform of the line after the other.
namespace annuli::grow {

// All that the rows of one line depend on; see apply.h.
struct RowContext {
  const TensorRecipe& line;
  at::TensorList parents;
  uint64_t seed;
  at::ScalarType dtype;
  const at::Tensor& router_mean;
};

class RowSource {
 public:
  virtual ~RowSource() = default;
  // Rows [begin, end), one after the other. A vector is a matrix of one row.
  virtual void make(int64_t begin, int64_t end, void* target) const = 0;
};
using RowSourcePtr = std::unique_ptr<const RowSource>;

// The rows of a line.
RowSourcePtr make_source(const RowContext& context);

// The rows of a contiguous tensor on CPU.
RowSourcePtr held_source(const at::Tensor& made);

// All rows, in memory of their own (owned_memory.h).
at::Tensor whole(const RowSource& rows, const TensorRecipe& line,
                 at::ScalarType dtype);

}  // namespace annuli::grow

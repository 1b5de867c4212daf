#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "annuli/grow/recipe.h"

// Carries out one line of a recipe.
//
// Guarantees: the result depends on recipe, parents, seed, dtype and
// router_mean alone; not on the number of threads, nor on how many rows are
// made at a time. Values are rounded once from parent * scale (fp64 product) to
// `dtype`.
//
// parents: the recipe's tensor of each of its `models`, in their order, any
// floating dtype, any device; not looked at unless the source is kParent. (One
// tensor converts to a list.) dtype: what the child is stored in, bf16 and half
// included. router_mean: [D], the layer's mean router input; undefined leaves
// the rows of a random router as drawn.
namespace annuli::grow {

// The child tensor, contiguous, in memory of its own (owned_memory.h), on the
// CPU.
at::Tensor apply(const TensorRecipe& recipe, at::TensorList parents,
                 uint64_t seed, at::ScalarType dtype,
                 const at::Tensor& router_mean = {});

// The recipe's slices with a scale of the caller's and no noise: how moments
// and gradients follow. Source must be kParent.
TensorRecipe without_noise(TensorRecipe recipe, double scale);
at::Tensor tile(const TensorRecipe& recipe, const at::Tensor& parent,
                double scale, at::ScalarType dtype);

// The child tensor in pieces of rows, for tensors larger than memory. Of the
// parents it reads what the rows at hand need, and for noise the whole once
// more beforehand; it holds none of them. A vector is a matrix of one row.
class RowMaker {
 public:
  RowMaker(const TensorRecipe& recipe, at::TensorList parents, uint64_t seed,
           at::ScalarType dtype, const at::Tensor& router_mean = {});
  ~RowMaker();
  RowMaker(RowMaker&&) noexcept;

  int64_t rows() const { return rows_; }
  int64_t row_bytes() const { return row_bytes_; }

  // Writes rows [begin, end), one after the other, to `target`.
  void make(int64_t begin, int64_t end, void* target) const;

  class Source;  // where the rows come from

 private:
  int64_t rows_;
  int64_t row_bytes_;
  std::unique_ptr<const Source> source_;
};

}  // namespace annuli::grow

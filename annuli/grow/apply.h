#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "annuli/grow/recipe.h"

// Carries out one line of a recipe: its slices, and then its transforms.
//
// Guarantees: the result depends on recipe, parents, seed, dtype and
// router_mean alone; not on the number of threads, nor on how many rows are
// made at a time. Values are rounded once from parent * scale (fp64 product) to
// `dtype`; lines of several steps (chains) after each step, as files in between
// would be.
//
// parents: the recipe's tensor of each of its `models`, in their order, any
// floating dtype, any device; not looked at unless the source is kParent. (One
// tensor converts to a list.) dtype: what the child is stored in, bf16 and half
// included. router_mean: [D], the mean router input of the parent's layer
// `recipe.layer`; undefined leaves the rows of a random router as drawn, unless
// the recipe needs it.
namespace annuli::grow {

// The child tensor, contiguous, in memory of its own (owned_memory.h), on the
// CPU.
at::Tensor apply(const TensorRecipe& recipe, at::TensorList parents,
                 uint64_t seed, at::ScalarType dtype,
                 const at::Tensor& router_mean = {});

// The recipe's slices with a scale of the caller's and nothing else: no
// transforms, and so zeros where entries are new. How gradients follow. Source
// must be kParent, of a single step.
TensorRecipe bare_copy(TensorRecipe recipe, double scale);

// How a moment follows, step by step: scaled with gradient_scale to the
// `power`, 1 for m and 2 for v.
TensorRecipe moment_recipe(const TensorRecipe& recipe, int power);

// The child tensor in pieces of rows, for tensors larger than memory. Of the
// parents it reads what the rows at hand need, and for noise the whole once
// more beforehand; it holds none of them. (Lines of several steps, and those
// with units drawn anew, hold one tensor of about the child's size.) A vector
// is a matrix of one row.
class RowMaker {
 public:
  RowMaker(const TensorRecipe& recipe, at::TensorList parents, uint64_t seed,
           at::ScalarType dtype, const at::Tensor& router_mean = {});
  // A tensor that is made already, of any type.
  explicit RowMaker(const at::Tensor& made);
  ~RowMaker();
  RowMaker(RowMaker&&) noexcept;

  int64_t rows() const { return rows_; }
  int64_t row_bytes() const { return row_bytes_; }

  // Writes rows [begin, end), one after the other, to `target`.
  void make(int64_t begin, int64_t end, void* target) const;

 private:
  int64_t rows_;
  int64_t row_bytes_;
  std::unique_ptr<const RowSource> source_;
};

}  // namespace annuli::grow

#pragma once

#include <memory>

#include "annuli/grow/apply.h"

// Where RowMaker's rows come from: one kind for each Source of a recipe.
namespace annuli::grow {

class RowMaker::Source {
 public:
  virtual ~Source() = default;
  virtual void make(int64_t begin, int64_t end, void* target) const = 0;
};

std::unique_ptr<const RowMaker::Source> make_source(
    const TensorRecipe& recipe, at::TensorList parents, uint64_t seed,
    at::ScalarType dtype, const at::Tensor& router_mean);

// The rows of a contiguous tensor on CPU.
std::unique_ptr<const RowMaker::Source> held_source(const at::Tensor& made);

}  // namespace annuli::grow

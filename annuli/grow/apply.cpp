#include "annuli/grow/apply.h"

#include <cmath>
#include <utility>

#include "annuli/grow/row_source.h"
#include "annuli/kernels/memory/owned_memory.h"

namespace annuli::grow {

at::Tensor apply(const TensorRecipe& recipe, at::TensorList parents,
                 uint64_t seed, at::ScalarType dtype,
                 const at::Tensor& router_mean) {
  const RowMaker maker(recipe, parents, seed, dtype, router_mean);
  at::Tensor child = kernels::owned_empty(recipe.shape, dtype);
  maker.make(0, maker.rows(), child.data_ptr());
  return child;
}

TensorRecipe bare_copy(TensorRecipe recipe, double scale) {
  recipe.scale = scale;
  recipe.transforms.clear();
  return recipe;
}

TensorRecipe moment_recipe(const TensorRecipe& recipe, int power) {
  TensorRecipe moment =
      bare_copy(recipe, std::pow(recipe.gradient_scale, power));
  for (TensorRecipe& step : moment.steps) {
    step = bare_copy(step, std::pow(step.gradient_scale, power));
  }
  return moment;
}

RowMaker::RowMaker(const TensorRecipe& recipe, at::TensorList parents,
                   uint64_t seed, at::ScalarType dtype,
                   const at::Tensor& router_mean)
    : rows_(recipe.shape.size() == 2 ? recipe.shape[0] : 1),
      row_bytes_(recipe.shape.back() *
                 static_cast<int64_t>(c10::elementSize(dtype))),
      source_(make_source({recipe, parents, seed, dtype, router_mean})) {}

RowMaker::RowMaker(const at::Tensor& made)
    : rows_(made.dim() == 2 ? made.size(0) : 1),
      row_bytes_(made.sizes().back() * static_cast<int64_t>(made.itemsize())),
      source_(held_source(made)) {}

RowMaker::~RowMaker() = default;
RowMaker::RowMaker(RowMaker&&) noexcept = default;

void RowMaker::make(int64_t begin, int64_t end, void* target) const {
  source_->make(begin, end, target);
}

}  // namespace annuli::grow

#include "annuli/grow/transforms/transform.h"

#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::grow {

std::vector<float> AddedNoise::numbers(uint64_t seed, int64_t first,
                                       int64_t rows, int64_t columns) const {
  const int64_t begin = first * columns;
  const int64_t aligned = begin / 4 * 4;  // numbers are drawn by fours
  std::vector<float> drawn(begin - aligned + rows * columns);
  kernels::normal_numbers(CounterRng(seed, stream), aligned, drawn);
  drawn.erase(drawn.begin(), drawn.begin() + (begin - aligned));
  return drawn;
}

TransformPtr Transform::followed_by(const TensorRecipe& next,
                                    const TransformPtr& self) const {
  return self;
}

TransformPtr Transform::on_zeros(const TransformPtr& self) const {
  return self;
}

void Transform::check_after(const TensorRecipe& first) const {}

bool Transform::carries_state() const { return true; }

const AddedNoise* Transform::added() const { return nullptr; }

}  // namespace annuli::grow

#include "annuli/grow/transforms/transform.h"

#include "annuli/kernels/normal_fill.h"

namespace annuli::grow {

std::vector<float> normal_rows(const CounterRng& rng, int64_t first,
                               int64_t rows, int64_t columns) {
  const int64_t begin = first * columns;
  const int64_t aligned = begin / 4 * 4;  // numbers are drawn by fours
  std::vector<float> drawn(begin - aligned + rows * columns);
  kernels::normal_numbers(rng, aligned, drawn);
  drawn.erase(drawn.begin(), drawn.begin() + (begin - aligned));
  return drawn;
}

std::vector<float> AddedNoise::numbers(uint64_t seed, int64_t first,
                                       int64_t rows, int64_t columns) const {
  return normal_rows(CounterRng(seed, stream), first, rows, columns);
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

double Transform::factor() const { return 1; }

}  // namespace annuli::grow

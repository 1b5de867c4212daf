#include "annuli/train/gradient_norm.h"

#include <cmath>
#include <numeric>

#include "annuli/core/error.h"

namespace annuli::train {

GradientNorm::GradientNorm(const TensorTable& table) : table_(table) {
  clear();
}

void GradientNorm::clear() {
  squares_.assign(table_.size(), 0);
  first_bad_row_.reset();
}

void GradientNorm::note(size_t row, double squares) {
  squares_[row] = squares;
  if (!std::isfinite(squares) && !first_bad_row_) first_bad_row_ = row;
}

void GradientNorm::require_finite(int64_t step, bool updated) const {
  if (!first_bad_row_) return;
  throw VerdictError(fmt::format(
      "training step {}: the gradient of {} is not finite; {}; try a lower "
      "learning_rate, a longer warm-up or max_grad_norm",
      step, table_[*first_bad_row_].name,
      updated
          ? "weights were updated with it inside the backward pass, so this "
            "model is not saved, and --resume goes on from the last state"
          : "nothing was updated"));
}

double GradientNorm::value() const {
  return std::sqrt(std::accumulate(squares_.begin(), squares_.end(), 0.0));
}

}  // namespace annuli::train

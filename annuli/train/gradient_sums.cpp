#include "annuli/train/gradient_sums.h"

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/parallel/sum_tree.h"

namespace annuli::train {

at::Tensor sum_of_present(at::Tensor first, const at::Tensor& next) {
  if (!first.defined()) return next;
  if (next.defined()) first.add_(next);
  return first;
}

GradientSums::GradientSums(size_t rows, int64_t parts, int64_t passes,
                           bool widen)
    : parts_(parts),
      passes_(passes),
      widen_(widen),
      sets_{std::vector<at::Tensor>(rows)},
      reached_(rows, false) {}

at::Tensor GradientSums::with_pass(size_t row, const at::Tensor& gradient) {
  ANNULI_CHECK(!reached_[row], "row {} twice in a pass", row);
  reached_[row] = true;
  at::Tensor sum = sum_of_present(std::move(sets_.back()[row]), gradient);
  const bool widens =
      widen_ && sum.defined() && sum.scalar_type() == at::kBFloat16;
  return widens ? sum.to(at::kFloat) : sum;
}

void GradientSums::add(size_t row, const at::Tensor& gradient) {
  complete(row, with_pass(row, gradient));
}

at::Tensor GradientSums::last(size_t row, const at::Tensor& gradient) {
  ANNULI_CHECK(part_ + 1 == parts_ && is_last_of_part(),
               "pass {} of part {} is not the last", pass_, part_);
  size_t set = 0;
  return with_nodes(row, with_pass(row, gradient), set);
}

// A row's sum after the last pass of a part, and the waiting nodes that the
// part completes; `set` is where it belongs.
at::Tensor GradientSums::with_nodes(size_t row, at::Tensor sum, size_t& set) {
  set = sets_.size() - 1;
  for (int64_t i = parallel::sums_after(part_, parts_); i > 0; --i) {
    --set;
    sum = sum_of_present(std::move(sets_[set][row]), sum);
  }
  return sum;
}

// Puts a row's sum where it belongs after this pass: into the part's own set,
// or into the waiting node that the part completes.
void GradientSums::complete(size_t row, at::Tensor sum) {
  size_t set = sets_.size() - 1;
  if (is_last_of_part()) sum = with_nodes(row, std::move(sum), set);
  sets_[set][row] = std::move(sum);
}

void GradientSums::end_pass() {
  if (is_last_of_part()) {
    for (size_t row = 0; row < reached_.size(); ++row) {
      if (!reached_[row]) complete(row, std::move(sets_.back()[row]));
    }
    sets_.resize(sets_.size() -
                 static_cast<size_t>(parallel::sums_after(part_, parts_)));
    if (++part_ < parts_) sets_.emplace_back(reached_.size());
  }
  pass_ = (pass_ + 1) % passes_;
  std::fill(reached_.begin(), reached_.end(), false);
}

std::vector<at::Tensor> GradientSums::take() {
  ANNULI_CHECK(part_ == parts_ && sets_.size() == 1, "{} parts of {}", part_,
               parts_);
  return std::move(sets_.front());
}

int64_t sets_beside_pass(int64_t parts, int64_t passes) {
  int64_t waiting = 0;
  int64_t most = 0;
  for (int64_t part = 0; part < parts; ++part) {
    most = std::max(most, waiting);
    waiting += 1 - parallel::sums_after(part, parts);
  }
  return most + (passes > 1 ? 1 : 0);
}

}  // namespace annuli::train

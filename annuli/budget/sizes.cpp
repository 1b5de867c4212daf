#include "annuli/budget/sizes.h"

#include <algorithm>

#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/kernels/product.h"

namespace annuli::budget {

int64_t tensor_bytes(int64_t entries, at::ScalarType type) {
  return kernels::cached_block_bytes(
      entries * static_cast<int64_t>(c10::elementSize(type)));
}

Sizes::Sizes(const ModelConfig& config, const TensorTable& table,
             const NumberTypes& numbers, int64_t rows)
    : config_(config), numbers_(numbers), rows_(rows) {
  for (const TensorSpec& spec : table) {
    parameters_ += gradient(spec.trained_entries());
    if (spec.layer < 0) continue;
    largest_ = std::max(largest_, spec.numel());
  }
}

int64_t Sizes::kept_rows(int64_t columns, int64_t rows_per_token) const {
  return narrow()
             ? tensor_bytes(rows_ * rows_per_token * columns, numbers_.products)
             : wide(columns, rows_per_token);
}

int64_t Sizes::factor(int64_t entries) const {
  return tensor_bytes(entries,
                      narrow() ? kernels::operand_type() : numbers_.arithmetic);
}

int64_t Sizes::weight_factor(int64_t entries) const {
  const bool as_stored = numbers_.weights == at::kBFloat16 &&
                         kernels::operand_type() == at::kBFloat16;
  return !narrow() || as_stored ? 0 : factor(entries);
}

}  // namespace annuli::budget

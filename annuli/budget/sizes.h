#pragma once

#include <cstdint>

#include "annuli/config/model_config.h"
#include "annuli/model/number_types.h"
#include "annuli/model/tensor_table.h"

// Bytes of the tensors in a step of N tokens, as the caching allocator rounds
// them.
namespace annuli::budget {

// Tokens whose logits exist at once.
inline constexpr int64_t kHeadRows = 512;

// Bytes of a tensor in the caching allocator.
int64_t tensor_bytes(int64_t entries, at::ScalarType type);

class Sizes {
 public:
  // `table`: the config's. config and numbers are borrowed.
  Sizes(const ModelConfig& config, const TensorTable& table,
        const NumberTypes& numbers, int64_t rows);

  // What is as wide as the residual stream, and what is of other widths.
  int64_t stream() const { return wide(config_.hidden_size); }
  int64_t wide(int64_t columns, int64_t rows_per_token = 1) const {
    return tensor_bytes(rows_ * rows_per_token * columns, numbers_.arithmetic);
  }
  // What is kept of a product's rows: themselves, or what they are in bf16.
  int64_t kept_rows(int64_t columns, int64_t rows_per_token = 1) const;
  // What of them is multiplied: in the processor's operand type.
  int64_t factor(int64_t entries) const;
  bool narrow() const { return numbers_.products != numbers_.arithmetic; }
  // A weight made ready for a product, where it is not multiplied as it is.
  int64_t weight_factor(int64_t entries) const;

  int64_t gradient(int64_t entries) const {
    return tensor_bytes(entries, numbers_.arithmetic);
  }
  int64_t largest() const { return largest_; }  // matrix of a block
  int64_t all_gradients() const { return parameters_; }
  int64_t table() const { return config_.vocab_size * config_.hidden_size; }
  int64_t rows() const { return rows_; }

 private:
  const ModelConfig& config_;
  const NumberTypes& numbers_;
  int64_t rows_;
  int64_t parameters_ = 0;
  int64_t largest_ = 0;
};

}  // namespace annuli::budget

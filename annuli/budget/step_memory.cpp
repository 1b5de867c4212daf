#include "annuli/budget/step_memory.h"

#include <algorithm>

#include "annuli/kernels/bf16_product.h"
#include "annuli/kernels/caching_allocator.h"
#include "annuli/model/tensor_table.h"

namespace annuli::budget {
namespace {

// Sizes of one model's tensors in a step of N tokens.
class Sizes {
 public:
  Sizes(const ModelConfig& config, const NumberTypes& numbers, int64_t rows)
      : config_(config), numbers_(numbers), rows_(rows) {
    for (const TensorSpec& spec : tensor_table(config)) {
      parameters_ += gradient(spec.numel());
      if (spec.layer < 0) continue;
      largest_ = std::max(largest_, spec.numel());
      if (spec.layer == 0 && spec.is_matrix()) operands_ += operand(spec);
    }
  }

  // The residual stream, and whatever else is D wide.
  int64_t stream() const { return wide(config_.hidden_size); }
  int64_t queries() const {
    return wide(config_.num_attention_heads * config_.head_dim);
  }
  int64_t keys() const {
    return wide(config_.num_key_value_heads * config_.head_dim);
  }
  int64_t wide(int64_t columns, int64_t rows_per_token = 1) const {
    return tensor_bytes(rows_ * rows_per_token * columns, numbers_.arithmetic);
  }
  // What a product reads of x: x itself, or a copy in the operands' type.
  int64_t operand_copy(int64_t columns, int64_t rows_per_token = 1) const {
    return narrow() ? tensor_bytes(rows_ * rows_per_token * columns,
                                   numbers_.products)
                    : 0;
  }
  int64_t if_wide(int64_t bytes) const { return narrow() ? 0 : bytes; }
  bool narrow() const { return numbers_.products != numbers_.arithmetic; }

  // Copies of a block's weights in the operands' type.
  int64_t operands() const { return operands_; }
  int64_t gradient(int64_t entries) const {
    return tensor_bytes(entries, numbers_.arithmetic);
  }
  int64_t largest_gradient() const { return gradient(largest_); }
  int64_t all_gradients() const { return parameters_; }
  int64_t table() const { return config_.vocab_size * config_.hidden_size; }
  int64_t rows() const { return rows_; }

 private:
  int64_t operand(const TensorSpec& spec) const {
    return numbers_.products == numbers_.weights
               ? 0
               : tensor_bytes(spec.numel(), numbers_.products);
  }

  const ModelConfig& config_;
  const NumberTypes& numbers_;
  int64_t rows_;
  int64_t parameters_ = 0;
  int64_t largest_ = 0;
  int64_t operands_ = 0;
};

// Kept of attention: the block's input and norm, q and k after rotation, v,
// what the heads mixed, and with q/k norms what those read.
int64_t kept_of_attention(const ModelConfig& config, const Sizes& size) {
  int64_t kept = size.stream() + size.queries() + 2 * size.keys();
  kept += size.if_wide(size.stream()) +
          3 * size.operand_copy(config.hidden_size);  // what q, k, v read
  kept += size.queries() +
          size.operand_copy(config.num_attention_heads * config.head_dim);
  if (config.qk_norm != QkNorm::kNone) kept += size.queries() + size.keys();
  return kept;
}

// Of `copies` rows a token through gate, up and down.
int64_t kept_of_feed_forward(const ModelConfig& config, const Sizes& size,
                             int64_t width, int64_t copies) {
  const int64_t inner = size.wide(width, copies);
  const int64_t read = size.operand_copy(config.hidden_size, copies);
  const int64_t product = size.operand_copy(width, copies);
  return config.gated ? 3 * inner + 2 * read + size.if_wide(inner) + product
                      : inner + read + size.if_wide(inner) + product;
}

int64_t kept_of_mixture(const ModelConfig& config, const Sizes& size) {
  const int64_t k = config.num_experts_per_tok;
  // Router: logits, probabilities and gates are E wide.
  int64_t kept = 3 * size.wide(config.num_experts);
  if (size.narrow()) kept += size.stream();  // what the router reads
  kept += size.if_wide(size.wide(config.hidden_size, k));  // sorted tokens
  kept += size.wide(config.hidden_size, k);                // experts' outputs
  kept += kept_of_feed_forward(config, size, config.intermediate_size, k);
  if (config.has_shared_expert()) {
    kept += kept_of_feed_forward(config, size,
                                 config.shared_expert_intermediate_size, 1) +
            2 * size.stream();
  }
  return kept;
}

int64_t kept_of_block(const ModelConfig& config, const Sizes& size) {
  int64_t kept = kept_of_attention(config, size);
  // The stream between the two halves, and its norm.
  kept += size.stream() + size.if_wide(size.stream());
  kept += config.is_mixture()
              ? kept_of_mixture(config, size)
              : kept_of_feed_forward(config, size, config.intermediate_size, 1);
  return kept + size.operands();
}

// Copies of a token's row in the feed-forward.
int64_t copies(const ModelConfig& config) {
  return std::max<int64_t>(1, config.num_experts_per_tok);
}

// Where the processor multiplies bf16 no faster than fp32, the operands of a
// product are widened for it.
int64_t widened(const Sizes& size, int64_t entries) {
  return size.narrow() && !kernels::bf16_is_fast()
             ? tensor_bytes(entries, at::kFloat)
             : 0;
}

// Beside what is kept: a block's way back at its top, where hardly anything is
// freed yet: the gradient of the stream and, as down's is done, that of one
// feed-forward's inner values, as an operand too where products are narrow.
// (Gradients of rows that were combined take the place of the rows.)
int64_t backward_of_block(const ModelConfig& config, const Sizes& size) {
  const int64_t experts = std::max<int64_t>(1, config.num_experts);
  const int64_t width = config.intermediate_size;
  const int64_t inner =
      size.wide(width, copies(config)) +
      std::max(size.operand_copy(width, copies(config)),
               widened(size, size.rows() * copies(config) * width));
  return 2 * size.stream() + inner / experts;
}

// The head: a block of logits, their gradients as operands, and the gradient of
// what it reads.
int64_t memory_of_head(const ModelConfig& config, const NumberTypes& numbers,
                       const Sizes& size) {
  const int64_t block = std::min(kHeadRows, size.rows()) * config.vocab_size;
  int64_t bytes = tensor_bytes(block, numbers.arithmetic);
  if (size.narrow()) {
    bytes += tensor_bytes(block, numbers.products);
    bytes += widened(size, block) + widened(size, size.table());
  }
  if (numbers.products != numbers.weights) {
    bytes += tensor_bytes(size.table(), numbers.products);
  }
  return bytes + size.stream();
}

StepMemory larger(const StepMemory& a, const StepMemory& b) {
  return a.total() >= b.total() ? a : b;
}

}  // namespace

int64_t tensor_bytes(int64_t entries, at::ScalarType type) {
  return kernels::cached_block_bytes(
      entries * static_cast<int64_t>(c10::elementSize(type)));
}

StepMemory step_memory(const StepShape& shape) {
  const ModelConfig& config = shape.config;
  const Sizes size(config, shape.numbers,
                   shape.batch_size * shape.sequence_length);
  const int64_t block = kept_of_block(config, size);
  const int64_t layers = config.num_hidden_layers;
  const int64_t kept =
      layers * (shape.gradient_checkpointing ? size.stream() : block);
  // From the second pass on the sum of the passes before is there.
  const int64_t held =
      shape.holds_gradient && shape.passes > 1 ? size.all_gradients() : 0;
  const int64_t table = size.gradient(size.table());

  const StepMemory at_head = {
      .gradients = held + table,
      .activations =
          kept + size.stream() + memory_of_head(config, shape.numbers, size)};
  const bool head_waits = config.tie_word_embeddings || shape.holds_gradient;
  const StepMemory at_top = {
      .gradients = held + (head_waits ? table : 0) + size.largest_gradient(),
      .activations = kept + (shape.gradient_checkpointing ? block : 0) +
                     backward_of_block(config, size)};
  StepMemory at_bottom = {.gradients = held + table,
                          .activations = 2 * size.stream()};
  if (config.tie_word_embeddings) at_bottom.gradients += table;
  if (shape.holds_gradient && held == 0) {
    at_bottom.gradients += size.all_gradients() - table;
  }
  return larger(at_head, larger(at_top, at_bottom));
}

int64_t forward_memory(const ModelConfig& config, const NumberTypes& numbers,
                       int64_t rows) {
  const Sizes size(config, numbers, rows);
  const int64_t k = copies(config);
  const int64_t inner = (config.gated ? 3 : 2) *
                        size.wide(config.intermediate_size, k) /
                        std::max<int64_t>(1, config.num_experts);
  const int64_t moved =
      config.is_mixture() ? 3 * size.wide(config.hidden_size, k) : 0;
  const int64_t attention = 3 * size.queries() + 3 * size.keys();
  return 3 * size.stream() + std::max(attention, inner + moved);
}

}  // namespace annuli::budget

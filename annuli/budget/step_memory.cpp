#include "annuli/budget/step_memory.h"

#include <algorithm>

#include "annuli/kernels/attention.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/kernels/product.h"
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
  // What is kept of a product's rows: themselves, or what they are in bf16.
  int64_t kept_rows(int64_t columns, int64_t rows_per_token = 1) const {
    return narrow() ? tensor_bytes(rows_ * rows_per_token * columns,
                                   numbers_.products)
                    : wide(columns, rows_per_token);
  }
  // What of them is multiplied: in the processor's operand type.
  int64_t factor(int64_t entries) const {
    return tensor_bytes(
        entries, narrow() ? kernels::operand_type() : numbers_.arithmetic);
  }
  bool narrow() const { return numbers_.products != numbers_.arithmetic; }
  // A weight made ready for a product, where it is not multiplied as it is.
  int64_t weight_factor(int64_t entries) const {
    const bool as_stored = numbers_.weights == at::kBFloat16 &&
                           kernels::operand_type() == at::kBFloat16;
    return !narrow() || as_stored ? 0 : factor(entries);
  }

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

// Kept of attention: the block's input, what q, k and v read, these three, what
// the heads mixed (as o reads it, and where attention itself keeps it), and
// with q/k norms what those read.
int64_t kept_of_attention(const ModelConfig& config, const Sizes& size) {
  int64_t kept = size.stream() + size.kept_rows(config.hidden_size) +
                 size.queries() + 2 * size.keys() +
                 size.kept_rows(config.num_attention_heads * config.head_dim);
  if (size.narrow() && kernels::attention_keeps_result()) {
    kept += size.queries();
  }
  if (config.qk_norm != QkNorm::kNone) kept += size.queries() + size.keys();
  return kept;
}

int64_t branches(const ModelConfig& config) { return config.gated ? 2 : 1; }

// The inputs of the activation, `copies` rows a token.
int64_t kept_of_feed_forward(const ModelConfig& config, const Sizes& size,
                             int64_t width, int64_t copies) {
  return branches(config) * size.kept_rows(width, copies);
}

int64_t kept_of_mixture(const ModelConfig& config, const Sizes& size) {
  const int64_t k = config.num_experts_per_tok;
  // Router: logits, probabilities and gates are E wide.
  int64_t kept = 3 * size.wide(config.num_experts);
  kept += size.stream();                          // what the router reads
  kept += size.kept_rows(config.hidden_size, k);  // sorted tokens
  kept += size.wide(config.hidden_size, k);       // experts' outputs
  kept += kept_of_feed_forward(config, size, config.intermediate_size, k);
  if (config.has_shared_expert()) {
    kept += kept_of_feed_forward(config, size,
                                 config.shared_expert_intermediate_size, 1) +
            2 * size.stream();
    if (size.narrow()) kept += size.kept_rows(config.hidden_size);
  }
  return kept;
}

int64_t kept_of_block(const ModelConfig& config, const Sizes& size) {
  // And the stream between the two halves.
  const int64_t kept = kept_of_attention(config, size) + size.stream();
  if (config.is_mixture()) return kept + kept_of_mixture(config, size);
  return kept + size.kept_rows(config.hidden_size) +
         kept_of_feed_forward(config, size, config.intermediate_size, 1);
}

// Copies of a token's row in the feed-forward.
int64_t copies(const ModelConfig& config) {
  return std::max<int64_t>(1, config.num_experts_per_tok);
}

// Beside what is kept, a feed-forward's way back at the top of the last block,
// where hardly anything is freed yet: the stream's gradient and, of one expert,
// what goes into its products. (Gradients of rows that were combined take the
// place of the rows.)
struct FeedForwardBackward {
  FeedForwardBackward(const ModelConfig& config, const Sizes& size)
      : entries(size.rows() * copies(config) * config.intermediate_size /
                std::max<int64_t>(1, config.num_experts)),
        inner((1 + branches(config)) * size.factor(entries)),
        streams(2 * size.stream()),
        weights(1 + branches(config)) {}
  int64_t entries;
  int64_t inner;  // what the activation gave, and its gradients
  int64_t streams;
  int64_t weights;  // matrices whose gradients are there together
};

// The head: a block of logits, their gradients as operands, what is multiplied
// of the table and of the rows, and the rows' gradient.
int64_t memory_of_head(const ModelConfig& config, const NumberTypes& numbers,
                       const Sizes& size) {
  const int64_t block = std::min(kHeadRows, size.rows()) * config.vocab_size;
  int64_t bytes = tensor_bytes(block, numbers.arithmetic) + size.stream();
  if (!size.narrow()) return bytes;
  if (kernels::bf16_is_fast()) {
    bytes += size.factor(block);
  } else {
    bytes += size.factor(size.rows() * config.hidden_size);
  }
  return bytes + size.weight_factor(size.table());
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
  const FeedForwardBackward back(config, size);
  const int64_t top = kept + (shape.gradient_checkpointing ? block : 0) +
                      back.streams + back.inner;
  const StepMemory at_activation = {
      .gradients = held + (head_waits ? table : 0),
      .activations = top + size.gradient(back.entries)};
  const StepMemory at_weights = {
      .gradients = at_activation.gradients +
                   back.weights * size.gradient(size.largest()),
      .activations = top + size.weight_factor(size.largest())};
  StepMemory at_bottom = {.gradients = held + table,
                          .activations = 2 * size.stream()};
  if (shape.holds_gradient && held == 0) {
    at_bottom.gradients += size.all_gradients() - table;
  }
  return larger(larger(at_head, at_bottom), larger(at_activation, at_weights));
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

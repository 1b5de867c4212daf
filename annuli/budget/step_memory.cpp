#include "annuli/budget/step_memory.h"

#include <algorithm>

#include "annuli/budget/sending.h"
#include "annuli/budget/size_ops.h"
#include "annuli/model/forward.h"
#include "annuli/train/gradient_sums.h"

namespace annuli::budget {
namespace {

// Beside what is kept, a feed-forward's way back at the top of the last block,
// where hardly anything is freed yet: the stream's gradient and, of one expert,
// what goes into its products. (Gradients of rows that were combined take the
// place of the rows.)
struct FeedForwardBackward {
  explicit FeedForwardBackward(const SizeOps& pass)
      : inner((1 + pass.branches()) * pass.size().factor(pass.inner_entries())),
        streams(2 * pass.size().stream()),
        weights(1 + pass.branches()) {}
  int64_t inner;  // what the activation gave, and its gradients
  int64_t streams;
  int64_t weights;  // matrices whose gradients are there together
};

StepMemory larger(const StepMemory& a, const StepMemory& b) {
  return a.total() >= b.total() ? a : b;
}

}  // namespace

StepMemory step_memory(const StepShape& shape) {
  const ModelConfig& config = shape.config;
  SizeOps pass(config, shape.numbers, shape.batch_size * shape.sequence_length,
               shape.sequence_length, shape.gradient_checkpointing);
  Forward(config, pass).loss({}, {});
  const Sizes& size = pass.size();
  // All but what the final norm keeps, and with a block that is repeated.
  const int64_t blocks = pass.kept() - size.stream();
  const int64_t top =
      blocks + (shape.gradient_checkpointing ? pass.kept_of_block() : 0);
  // From the second pass on sums of the passes before are there.
  const int64_t held =
      train::sets_beside_pass(shape.parts, shape.passes) * size.all_gradients();
  const int64_t table = size.gradient(size.table());

  const StepMemory at_head = {.gradients = held + table,
                              .activations = pass.kept() + pass.head()};
  const bool head_waits = config.tie_word_embeddings || shape.holds_gradient;
  const FeedForwardBackward back(pass);
  const int64_t working = top + back.streams + back.inner;
  const StepMemory at_activation = {
      .gradients = held + (head_waits ? table : 0),
      .activations = working + size.gradient(pass.inner_entries())};
  const StepMemory at_weights = {
      .gradients = at_activation.gradients +
                   back.weights * size.gradient(size.largest()),
      .activations = working + size.weight_factor(size.largest())};
  StepMemory at_bottom = {.gradients = held + table,
                          .activations = 2 * size.stream()};
  if (shape.holds_gradient && held == 0) {
    at_bottom.gradients += size.all_gradients() - table;
  }
  // When the passes are done, and what they have summed is sent.
  StepMemory at_sending;
  if (shape.processes > 1) {
    at_sending.gradients =
        size.all_gradients() +
        sending_memory(size.all_gradients(), shape.processes);
  }
  return larger(larger(larger(at_head, at_bottom), at_sending),
                larger(at_activation, at_weights));
}

int64_t forward_memory(const ModelConfig& config, const NumberTypes& numbers,
                       int64_t rows) {
  SizeOps pass(config, numbers, rows, rows);
  Forward(config, pass).stream({});
  return 3 * pass.size().stream() + pass.widest();
}

}  // namespace annuli::budget

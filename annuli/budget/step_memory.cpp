#include "annuli/budget/step_memory.h"

#include <algorithm>
#include <vector>

#include "annuli/budget/sending.h"
#include "annuli/budget/size_ops.h"
#include "annuli/budget/stage_parts.h"
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
        kept(pass.branches() *
             pass.size().kept_rows(pass.inner_entries() / pass.size().rows())),
        weights(1 + pass.branches()) {}
  int64_t inner;  // what the activation gave, and its gradients
  int64_t streams;
  int64_t kept;     // of the inputs of its activation
  int64_t weights;  // matrices whose gradients are there together
};

// What the moments of a step are made of.
class Moments {
 public:
  explicit Moments(const StepShape& shape);

  // Of a process that has all sums.
  StepMemory largest() const;
  // Of one that gives them to their owners.
  StepMemory largest(const StageParts& parts) const;

 private:
  StepMemory at_head(int64_t held) const {
    return {.gradients = held + table_,
            .activations = pass_.kept() + pass_.head()};
  }
  // In a block's backward pass, where `gradients` wait and so many blocks above
  // it are done: in its activation; in its products; and when the first of
  // their gradients is given away, for which `sending` is held.
  std::vector<StepMemory> in_block(int64_t gradients, int64_t above,
                                   int64_t sending) const;

  const StepShape& shape_;
  SizeOps pass_;
  int64_t block_ = 0;  // what one keeps
  int64_t top_ = 0;    // when the last block's backward pass begins
  int64_t held_ = 0;   // sums of passes before
  int64_t table_ = 0;
};

StepMemory larger(const StepMemory& a, const StepMemory& b) {
  return a.total() >= b.total() ? a : b;
}

Moments::Moments(const StepShape& shape)
    : shape_(shape),
      pass_(shape.config, shape.numbers,
            shape.batch_size * shape.sequence_length, shape.sequence_length,
            shape.gradient_checkpointing) {
  Forward(shape.config, pass_).loss({}, {});
  const Sizes& size = pass_.size();
  // All but what the final norm keeps, and with a block that is repeated.
  const int64_t blocks = pass_.kept() - size.stream();
  block_ = blocks / shape.config.num_hidden_layers;
  top_ = blocks + (shape.gradient_checkpointing ? pass_.kept_of_block() : 0);
  // From the second pass on sums of the passes before are there.
  held_ =
      train::sets_beside_pass(shape.parts, shape.passes) * size.all_gradients();
  table_ = size.gradient(size.table());
}

std::vector<StepMemory> Moments::in_block(int64_t gradients, int64_t above,
                                          int64_t sending) const {
  const Sizes& size = pass_.size();
  const FeedForwardBackward back(pass_);
  const int64_t before = top_ - above * block_ + back.streams;
  const int64_t working = before + back.inner;
  const int64_t with_weights =
      gradients + back.weights * size.gradient(size.largest());
  return {
      {.gradients = gradients,
       .activations = working + size.gradient(pass_.inner_entries())},
      {.gradients = with_weights,
       .activations = working + size.weight_factor(size.largest())},
      {.gradients = with_weights + sending, .activations = before - back.kept}};
}

StepMemory Moments::largest() const {
  const Sizes& size = pass_.size();
  const bool head_waits =
      shape_.config.tie_word_embeddings || shape_.holds_gradient;
  StepMemory most = at_head(held_);
  for (const StepMemory& moment :
       in_block(held_ + (head_waits ? table_ : 0), 0, 0)) {
    most = larger(most, moment);
  }
  StepMemory at_bottom = {.gradients = held_ + table_,
                          .activations = 2 * size.stream()};
  if (shape_.holds_gradient && held_ == 0) {
    at_bottom.gradients += size.all_gradients() - table_;
  }
  most = larger(most, at_bottom);
  if (shape_.processes == 1) return most;
  // When the passes are done, and what they have summed is sent.
  return larger(most, {.gradients = size.all_gradients() +
                                    sending_memory(size.all_gradients(),
                                                   shape_.processes)});
}

// A stage's gradients wait until the first one of the stage below has come, and
// go while its block's others are there; those of the head wait for the last
// block, and tied to the embedding for all. Sums of passes before are the place
// of the last pass' too.
StepMemory Moments::largest(const StageParts& parts) const {
  const bool full = shape_.shard == Sharding::kFull;
  const int64_t own = parts.own_weights();
  const int64_t outside = full ? parts.weights_outside_layers() - own : 0;
  const int64_t layer = full ? parts.weights_in_layer() - own : 0;
  const auto own_sums_from = [&](size_t stage) {
    return shape_.sums_wait ? parts.own_gradients_from(stage) : 0;
  };
  StepMemory most = at_head(held_);
  most.fetched = outside;
  const auto note = [&](StepMemory moment, int64_t fetched) {
    moment.fetched = fetched;
    most = larger(most, moment);
  };
  const size_t head = parts.size() - 1;
  const int64_t waiting = parts.has_tied_head() ? table_ : 0;
  for (const StepMemory& moment : in_block(held_ > 0 ? held_ + waiting : table_,
                                           0, parts.gradient_buckets(head))) {
    note(moment, layer);
  }
  if (held_ > 0) return most;
  for (size_t stage = head - 1; stage > 1; --stage) {
    const int64_t gradients =
        waiting + parts.gradients(stage) + own_sums_from(stage + 1);
    for (const StepMemory& moment :
         in_block(gradients, static_cast<int64_t>(head - stage),
                  parts.gradient_buckets(stage))) {
      note(moment, layer);
    }
  }
  const int64_t streams = 2 * pass_.size().stream();
  note({.gradients = table_ + parts.gradients(1) + parts.gradient_buckets(1) +
                     own_sums_from(2),
        .activations = streams},
       outside);
  note({.gradients = table_ + parts.gradient_buckets(0) + own_sums_from(1),
        .activations = streams},
       outside);
  // Before the passes, or after them.
  note({.gradients =
            full ? parts.weight_buckets(0) : parts.weight_buckets_of_all()},
       outside);
  return most;
}

}  // namespace

StepMemory step_memory(const StepShape& shape) {
  const Moments moments(shape);
  if (shape.processes == 1 || shape.shard == Sharding::kNone) {
    return moments.largest();
  }
  return moments.largest(
      StageParts(shape.config, shape.numbers, shape.processes));
}

int64_t forward_memory(const ModelConfig& config, const NumberTypes& numbers,
                       int64_t rows) {
  SizeOps pass(config, numbers, rows, rows);
  Forward(config, pass).stream({});
  return 3 * pass.size().stream() + pass.widest();
}

}  // namespace annuli::budget

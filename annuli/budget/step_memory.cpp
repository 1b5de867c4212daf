#include "annuli/budget/step_memory.h"

#include <algorithm>
#include <vector>

#include "annuli/budget/sending.h"
#include "annuli/budget/size_ops.h"
#include "annuli/budget/stage_parts.h"
#include "annuli/model/forward.h"
#include "annuli/optim/state_layout.h"
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
  // In a block's backward pass, where so many blocks above it are done: in its
  // activation and in its products, where `before` waits; and when the first
  // of its gradients has come, and `after` does.
  struct Waiting {
    int64_t gradients = 0;
    int64_t sending = 0;  // buckets
  };
  std::vector<StepMemory> in_block(const Waiting& before, const Waiting& after,
                                   int64_t above) const;

  const StepShape& shape_;
  SizeOps pass_;
  int64_t all_gradients_ = 0;
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
  all_gradients_ = size.all_gradients() - shape.frozen_gradients;
  // From the second pass on sums of the passes before are there.
  held_ = train::sets_beside_pass(shape.parts, shape.passes) * all_gradients_;
  table_ = shape.frozen_head ? 0 : size.gradient(size.table());
}

std::vector<StepMemory> Moments::in_block(const Waiting& before,
                                          const Waiting& after,
                                          int64_t above) const {
  const Sizes& size = pass_.size();
  const FeedForwardBackward back(pass_);
  const int64_t kept = top_ - above * block_ + back.streams;
  const int64_t working = kept + back.inner;
  const int64_t weights = back.weights * size.gradient(size.largest());
  const int64_t waits = before.gradients + before.sending;
  return {{.gradients = waits,
           .activations = working + size.gradient(pass_.inner_entries())},
          {.gradients = waits + weights,
           .activations = working + size.weight_factor(size.largest())},
          {.gradients = after.gradients + weights + after.sending,
           .activations = kept - back.kept + shape_.update}};
}

StepMemory Moments::largest() const {
  const Sizes& size = pass_.size();
  const bool head_waits =
      shape_.config.tie_word_embeddings || shape_.holds_gradient;
  // What several processes send goes while the pass does.
  const int64_t sending = sending_memory(all_gradients_, shape_.processes);
  const Waiting waiting = {.gradients = held_ + (head_waits ? table_ : 0)};
  StepMemory most = at_head(held_);
  for (const StepMemory& moment :
       in_block(waiting, {waiting.gradients, sending}, 0)) {
    most = larger(most, moment);
  }
  StepMemory at_bottom = {.gradients = held_ + table_ + sending,
                          .activations = 2 * size.stream() + shape_.update};
  if (shape_.holds_gradient && held_ == 0) {
    at_bottom.gradients += all_gradients_ - table_;
  }
  return larger(most, at_bottom);
}

// A stage's gradients wait until the first one of the stage below has come.
// Then they are under way, until the first one of the next stage has come: so
// those of two stages are there, and the buckets of one operation. Those of the
// head wait for the last block, and tied to the embedding for all. Sums of
// passes before are the place of the last pass' too. Of a layer's weights, a
// block has its own and the next one's; the last layer's stay at the head.
StepMemory Moments::largest(const StageParts& parts) const {
  const bool full = shape_.shard == Sharding::kFull;
  const int64_t own = parts.own_weights();
  const int64_t outside = full ? parts.weights_outside_layers() - own : 0;
  const int64_t layer = full ? parts.weights_in_layer() - own : 0;
  const int64_t layers = full ? parts.weights_in_pass() - own : 0;
  const auto own_sums_from = [&](size_t stage) {
    return shape_.sums_wait ? parts.own_gradients_from(stage) : 0;
  };
  StepMemory most;
  const auto note = [&](StepMemory moment, int64_t fetched) {
    moment.fetched = fetched;
    most = larger(most, moment);
  };
  note(at_head(held_), layer);
  const size_t head = parts.size() - 1;
  const int64_t tied = parts.has_tied_head() ? table_ : 0;
  // While the sums of `stage` are under way, and those above it are done.
  const auto under_way = [&](size_t stage) -> Waiting {
    const int64_t gradients =
        held_ > 0 ? held_ : parts.gradients(stage) + own_sums_from(stage + 1);
    const int64_t weights =
        full || !shape_.sums_wait ? parts.weight_buckets(stage) : 0;
    return {tied + gradients, std::max(parts.gradient_buckets(stage), weights)};
  };
  const Waiting at_top = {.gradients = held_ + table_};
  const int64_t first = parts.layers() > 1 ? layers : layer;
  for (const StepMemory& moment : in_block(at_top, under_way(head), 0)) {
    note(moment, first);
  }
  if (held_ > 0) return most;
  for (size_t stage = head - 1; stage > 1; --stage) {
    Waiting before = under_way(stage + 1);
    before.gradients += parts.gradients(stage);
    for (const StepMemory& moment : in_block(
             before, under_way(stage), static_cast<int64_t>(head - stage))) {
      note(moment, stage > 2 ? layers : layer);
    }
  }
  const auto at_bottom = [&](Waiting waiting, int64_t gradients) {
    note({.gradients = waiting.gradients - tied + waiting.sending + gradients,
          .activations = 2 * pass_.size().stream() + shape_.update},
         outside);
  };
  if (head > 2) at_bottom(under_way(2), table_ + parts.gradients(1));
  at_bottom(under_way(1), table_);
  at_bottom(under_way(0), 0);
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

int64_t update_memory(const ModelConfig& config, const OptimizerPlan& plan,
                      const NumberTypes& numbers) {
  const at::ScalarType type =
      numbers.weights == at::kDouble ? at::kDouble : at::kFloat;
  int64_t most = 0;
  for (const TensorSpec& spec : tensor_table(config)) {
    int64_t bytes = 0;
    for (const int64_t entries : optim::update_entries(plan, spec)) {
      bytes += tensor_bytes(entries, type);
    }
    most = std::max(most, bytes);
  }
  return most;
}

int64_t forward_memory(const ModelConfig& config, const NumberTypes& numbers,
                       int64_t rows) {
  SizeOps pass(config, numbers, rows, rows);
  Forward(config, pass).stream({});
  return 3 * pass.size().stream() + pass.widest();
}

}  // namespace annuli::budget

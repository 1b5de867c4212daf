#include "annuli/budget/growth_memory.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "annuli/budget/stage_parts.h"
#include "annuli/budget/step_memory.h"
#include "annuli/grow/parent_rows.h"
#include "annuli/kernels/quantize/weight_codes.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/stored_type.h"
#include "annuli/optim/state_layout.h"

namespace annuli::budget {
namespace {

using RowBytes = std::function<int64_t(const TensorSpec& spec)>;

RowBytes weight_row(const NumberTypes& numbers) {
  return [numbers](const TensorSpec& spec) {
    if (numbers.coded && is_coded(spec)) {
      return kernels::coded_bytes(spec.shape()[0], spec.shape()[1]);
    }
    return spec.numel() * static_cast<int64_t>(c10::elementSize(
                              stored_type(spec, numbers.weights)));
  };
}

RowBytes state_row(const Plan& plan) {
  return [&plan](const TensorSpec& spec) {
    return optim::optimizer_state_bytes(plan.optimizer, spec, plan.precision);
  };
}

int64_t sum(const ModelConfig& config, const RowBytes& bytes) {
  int64_t total = 0;
  for (const TensorSpec& spec : tensor_table(config)) total += bytes(spec);
  return total;
}

// The most alive at once while child rows are made and parent rows go with
// their last use, as grow::grow and grow::grow_state do it.
int64_t largest_while_growing(const grow::Recipe& recipe,
                              const RowBytes& bytes) {
  const TensorTable parents = tensor_table(recipe.parent);
  const TensorTable children = tensor_table(recipe.child);
  grow::ParentRows rows(recipe);
  int64_t alive = sum(recipe.parent, bytes);
  for (size_t row : rows.unused()) alive -= bytes(parents[row]);
  int64_t largest = alive;
  for (size_t i = 0; i < children.size(); ++i) {
    const grow::TensorRecipe& tensor = recipe.tensors[i];
    const bool copied = tensor.source == grow::Source::kParent;
    const size_t row = copied ? rows.row(tensor.parent) : 0;
    const bool last = copied && rows.use(row);
    alive += bytes(children[i]);
    // What is the same is moved.
    if (!(last && tensor.is_identity())) largest = std::max(largest, alive);
    if (last) alive -= bytes(parents[row]);
  }
  return largest;
}

// The largest part of a row that is sent by itself.
using LargestPart = std::function<int64_t(const TensorSpec& spec)>;

LargestPart largest_state_part(const Plan& plan) {
  return [&plan](const TensorSpec& spec) {
    int64_t largest = 0;
    for (const optim::StatePart& part : optim::state_layout(
             plan.optimizer, spec, number_types(plan.precision).weights)) {
      auto bytes = static_cast<int64_t>(c10::elementSize(part.dtype));
      for (const int64_t size : part.shape) bytes *= size;
      largest = std::max(largest, bytes);
    }
    return largest;
  };
}

// The same of what is held in parts, in one of the processes: a parent row's
// parts go to who makes the child's row, one by one (grow/state_mover.h,
// WeightParts::read_at).
class GrowthInParts {
 public:
  GrowthInParts(const GrowthShape& shape, int64_t process, RowBytes bytes,
                LargestPart largest_part)
      : recipe_(shape.recipe),
        parents_(tensor_table(recipe_.parent)),
        children_(tensor_table(recipe_.child)),
        of_parent_(parents_, shape.holders),
        of_child_(children_, shape.holders),
        process_(process),
        bytes_(std::move(bytes)),
        largest_part_(std::move(largest_part)),
        rows_(recipe_) {}

  int64_t largest() {
    for (const size_t row : of_parent_.rows_of(process_)) {
      alive_ += bytes_(parents_[row]);
    }
    for (const size_t row : rows_.unused()) release(row);
    largest_ = alive_;
    for (size_t i = 0; i < children_.size(); ++i) grow(i);
    return largest_;
  }

 private:
  void grow(size_t child) {
    const grow::TensorRecipe& tensor = recipe_.tensors[child];
    if (tensor.source != grow::Source::kParent) return make(child, true);
    const size_t row = rows_.row(tensor.parent);
    const bool last = rows_.use(row);
    const bool moves = of_parent_.owner(row) != of_child_.owner(child);
    const int64_t received =
        moves && of_child_.owns(process_, child) ? bytes_(parents_[row]) : 0;
    if (moves && (received > 0 || of_parent_.owns(process_, row))) {
      // The last part is there once more, as it is sent or has come.
      note(received + largest_part_(parents_[row]));
    }
    if (tensor.is_identity() && (last || moves)) {
      make(child, moves);
    } else {
      alive_ += received;
      make(child, true);
      alive_ -= received;
    }
    if (last) release(row);
  }

  void make(size_t child, bool anew) {
    if (!of_child_.owns(process_, child)) return;
    alive_ += bytes_(children_[child]);
    if (anew) note(0);
  }
  void release(size_t row) {
    if (of_parent_.owns(process_, row)) alive_ -= bytes_(parents_[row]);
  }
  void note(int64_t beside) { largest_ = std::max(largest_, alive_ + beside); }

  const grow::Recipe& recipe_;
  TensorTable parents_;
  TensorTable children_;
  RowOwners of_parent_;
  RowOwners of_child_;
  int64_t process_;
  RowBytes bytes_;
  LargestPart largest_part_;
  grow::ParentRows rows_;
  int64_t alive_ = 0;
  int64_t largest_ = 0;
};

int64_t largest_in_parts(const GrowthShape& shape, const RowBytes& bytes,
                         const LargestPart& largest_part) {
  int64_t largest = 0;
  for (int64_t process = 0; process < shape.holders; ++process) {
    largest = std::max(
        largest, GrowthInParts(shape, process, bytes, largest_part).largest());
  }
  return largest;
}

// Entries of the largest tensor, of those that `counts`, if given, is true of.
int64_t largest_tensor(const ModelConfig& config,
                       bool (*counts)(const TensorSpec&) = nullptr) {
  int64_t largest = 0;
  for (const TensorSpec& spec : tensor_table(config)) {
    if (counts != nullptr && !counts(spec)) continue;
    largest = std::max(largest, spec.numel());
  }
  return largest;
}

// A parent's and a child's matrix while one is made of the other; the child's
// once more with its codes, while it is compared with them.
int64_t widened_pair(const GrowthShape& shape) {
  if (!shape.numbers.coded) return 0;
  const auto bytes = static_cast<int64_t>(sizeof(int16_t));
  return largest_tensor(shape.recipe.parent, is_coded) * bytes +
         largest_tensor(shape.recipe.child, is_coded) * (2 * bytes + 1);
}

int64_t largest_while_growing_state(const GrowthShape& shape) {
  const RowBytes bytes = state_row(shape.plan);
  return shape.holders == 1
             ? largest_while_growing(shape.recipe, bytes)
             : largest_in_parts(shape, bytes, largest_state_part(shape.plan));
}

// Of a model between two passes, and while a layer is computed.
int64_t held_weights(const ModelConfig& config, const GrowthShape& shape) {
  return shape.weights_in_parts
             ? StageParts(config, shape.numbers, shape.holders)
                   .weights_outside_layers()
             : weight_bytes(config, shape.numbers);
}
int64_t weights_in_pass(const ModelConfig& config, const GrowthShape& shape) {
  return shape.weights_in_parts
             ? StageParts(config, shape.numbers, shape.holders)
                   .weights_in_pass()
             : weight_bytes(config, shape.numbers) +
                   widened_layer(config, shape.numbers);
}

// In parts, those outside the layers are on all processes, before and after.
int64_t largest_while_growing_weights(const GrowthShape& shape) {
  const RowBytes bytes = weight_row(shape.numbers);
  if (!shape.weights_in_parts) {
    return largest_while_growing(shape.recipe, bytes) + widened_pair(shape);
  }
  const StageParts parts(shape.recipe.child, shape.numbers, shape.holders);
  return largest_in_parts(shape, bytes, bytes) +
         parts.weights_outside_layers() - parts.own_weights();
}

// A window's pass with its trace and logits, and what is made of the logits.
int64_t window_memory(const ModelConfig& config, const GrowthShape& shape) {
  const int64_t T = shape.plan.probe.length;
  const at::ScalarType type = shape.numbers.arithmetic;
  const int64_t logits = tensor_bytes(T * config.vocab_size, type);
  const int64_t layer = 2 * tensor_bytes(T * config.hidden_size, type) +
                        tensor_bytes(T * config.head_dim *
                                         (config.num_attention_heads +
                                          config.num_key_value_heads),
                                     type);
  return config.num_hidden_layers * layer + 2 * logits +
         forward_memory(config, shape.numbers, T);
}

// Two windows' logits in fp64, in pieces and whole.
int64_t double_logits(const ModelConfig& config, const Plan& plan) {
  const int64_t windows = std::min<int64_t>(2, plan.probe.windows);
  return tensor_bytes(windows * plan.probe.length * config.vocab_size,
                      at::kDouble);
}

int64_t router_memory(const ModelConfig& config, const GrowthShape& shape) {
  const int64_t rows = shape.plan.probe.router_tokens;
  return 4 * tensor_bytes(rows * config.hidden_size, shape.numbers.arithmetic) +
         forward_memory(config, shape.numbers, rows);
}

// What a router's centroids are found in: the inputs in fp64, without their
// mean and once more as directions.
int64_t centroid_memory(const GrowthShape& shape) {
  if (shape.recipe.router_centroids() == 0) return 0;
  return 2 * tensor_bytes(shape.plan.probe.router_tokens *
                              shape.recipe.parent.hidden_size,
                          at::kDouble);
}

// One backward pass over a window, blocks checkpointed. In full arithmetic a
// block's bf16 weights are widened into its graph.
int64_t gradient_pass(const ModelConfig& config, const GrowthShape& shape) {
  NumberTypes full = shape.numbers;
  full.products = full.arithmetic;
  const StepMemory step =
      step_memory({.config = config,
                   .numbers = full,
                   .batch_size = 1,
                   .sequence_length = shape.plan.probe.length,
                   .gradient_checkpointing = true});
  int64_t widened = 0;
  if (full.weights != full.arithmetic) {
    int64_t block = 0;
    for (const TensorSpec& spec : tensor_table(config)) {
      if (spec.layer == 0) block += tensor_bytes(spec.numel(), full.arithmetic);
    }
    const int64_t head =
        tensor_bytes(config.vocab_size * config.hidden_size, full.arithmetic);
    widened = std::max(block, head);
  }
  return step.total() + widened;
}

}  // namespace

int64_t weight_bytes(const ModelConfig& config, const NumberTypes& numbers) {
  return sum(config, weight_row(numbers));
}

int64_t widened_layer(const ModelConfig& config, const NumberTypes& numbers) {
  if (!numbers.coded) return 0;
  int64_t layer = 0;
  for (const TensorSpec& spec : tensor_table(config)) {
    if (spec.layer == 0 && is_coded(spec)) {
      layer += tensor_bytes(spec.numel(), numbers.weights);
    }
  }
  return layer;
}

int64_t widened_update(const ModelConfig& config, const NumberTypes& numbers) {
  return numbers.coded ? tensor_bytes(largest_tensor(config, is_coded),
                                      numbers.arithmetic)
                       : 0;
}

int64_t state_bytes(const ModelConfig& config, const Plan& plan,
                    int64_t holders, const std::vector<bool>& frozen) {
  const TensorTable table = tensor_table(config);
  const RowOwners owners(table, holders);
  const RowBytes bytes = state_row(plan);
  std::vector<int64_t> shares(static_cast<size_t>(holders));
  for (size_t row = 0; row < table.size(); ++row) {
    if (!frozen.empty() && frozen[row]) continue;
    shares[static_cast<size_t>(owners.owner(row))] += bytes(table[row]);
  }
  return std::ranges::max(shares);
}

std::vector<Moment> growth_moments(const GrowthShape& shape) {
  const grow::Recipe& recipe = shape.recipe;
  const ModelConfig& parent = recipe.parent;
  const ModelConfig& child = recipe.child;
  const int64_t parent_weights = weights_in_pass(parent, shape);
  const int64_t parent_state = state_bytes(parent, shape.plan, shape.holders);
  const int64_t child_weights = weights_in_pass(child, shape);
  const int64_t child_state = state_bytes(child, shape.plan, shape.holders);
  const bool widens = recipe.width_factor > 1;
  const int64_t kept = widens ? double_logits(parent, shape.plan) : 0;

  std::vector<Moment> moments;
  moments.push_back(
      {"record the parent",
       parent_weights + parent_state + kept +
           std::max({window_memory(parent, shape), kept,
                     router_memory(parent, shape) + centroid_memory(shape)})});
  if (recipe.has_noise()) {
    moments.push_back({"grow a control without noise",
                       held_weights(parent, shape) + parent_state + kept +
                           child_weights + gradient_pass(child, shape)});
  }
  moments.push_back(
      {"grow the weights",
       kept + parent_state + largest_while_growing_weights(shape)});
  moments.push_back({"grow the optimizer state",
                     kept + held_weights(child, shape) +
                         largest_while_growing_state(shape) +
                         // Codes are widened, one tensor at a time.
                         tensor_bytes(largest_tensor(parent), at::kFloat)});
  int64_t proof = window_memory(child, shape) +
                  tensor_bytes(shape.plan.probe.length * parent.vocab_size,
                               shape.numbers.arithmetic);
  if (widens) proof = std::max(proof, 2 * double_logits(child, shape.plan));
  if (recipe.has_noise()) proof = std::max(proof, gradient_pass(child, shape));
  if (child.is_mixture()) proof = std::max(proof, router_memory(child, shape));
  moments.push_back(
      {"prove the growth", kept + child_weights + child_state + proof});
  return moments;
}

Moment phase_proof(const GrowthShape& shape) {
  const ModelConfig& child = shape.recipe.child;
  int64_t working = 0;
  if (shape.recipe.has_noise()) {
    // A matrix of the parent, as grown, as trained, and their difference.
    working = 4 * tensor_bytes(largest_tensor(child), shape.numbers.arithmetic);
  }
  if (child.is_mixture()) {
    working = std::max(working, router_memory(child, shape));
  }
  return {"prove the phase", weights_in_pass(child, shape) +
                                 state_bytes(child, shape.plan, shape.holders) +
                                 working};
}

}  // namespace annuli::budget

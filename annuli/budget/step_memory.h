#pragma once

#include <cstdint>

#include "annuli/budget/sizes.h"
#include "annuli/config/plan.h"
#include "annuli/model/number_types.h"

// What a training step holds beside weights and optimizer state.
//
// It is counted, not measured: each tensor that the autograd graph keeps from
// the forward to the backward pass (size_ops.h), and the widest moments of the
// two, in the sizes that the caching allocator rounds to. The allocator keeps
// freed blocks only up to the most that was ever in use at once, so that most
// is what the process grows by. Tests hold the count against the allocator's
// own (step_memory_test.cpp); whoever changes what a kernel saves changes its
// operation in size_ops.cpp.
namespace annuli::budget {

struct StepShape {
  ModelConfig config;
  NumberTypes numbers;
  int64_t batch_size = 1;  // windows of one pass
  int64_t sequence_length = 1;
  bool gradient_checkpointing = false;
  // The whole gradient is kept until the update: clipping by it, several
  // passes.
  bool holds_gradient = false;
  int64_t parts = 1;      // of a step, in this process
  int64_t passes = 1;     // forward and backward passes of each part
  int64_t processes = 1;  // that share the step
  // What they hold parts of, each step's gradients among it; then with sums of
  // their own rows that wait until the norm of all is known.
  Sharding shard = Sharding::kNone;
  bool sums_wait = false;
  int64_t update = 0;  // held while a matrix is updated
  // Bytes of gradients that there are not, because tensors are frozen; and
  // whether the head's is among them. (Processes that hold parts count them.)
  int64_t frozen_gradients = 0;
  bool frozen_head = false;
};

// At the moment when all together are largest.
struct StepMemory {
  int64_t gradients = 0;
  int64_t activations = 0;
  int64_t fetched = 0;  // weights, beside those that are always here
  int64_t total() const { return gradients + activations + fetched; }
};

StepMemory step_memory(const StepShape& shape);

// What the update of the matrix that takes most holds (StepShape::update).
int64_t update_memory(const ModelConfig& config, const OptimizerPlan& plan,
                      const NumberTypes& numbers);

// A forward pass without a graph over `rows` tokens: one block at its widest,
// and the stream.
int64_t forward_memory(const ModelConfig& config, const NumberTypes& numbers,
                       int64_t rows);

}  // namespace annuli::budget

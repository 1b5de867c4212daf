#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/step_note.h"
#include "annuli/train/step_sums.h"

// What all processes come to before the last backward pass of a step: what each
// has summed over its own parts becomes the sum over all parts, with the bits
// of one process that made them all. Gradients follow (staged_gradients.h).
namespace annuli::train {

class StepExchange {
 public:
  // Both are borrowed. `router_means`: they are wanted.
  StepExchange(parallel::ProcessGroup& group, const Transformer& model,
               bool router_means)
      : group_(group), model_(model), router_means_(router_means) {}

  // Sums over the processes. `stop_signal`: what asks this process to stop; the
  // highest of all is returned. Throws on all processes the VerdictError that
  // one of them failed with.
  int sum(int64_t step, int stop_signal, StepSums& sums);

  // Of each row the number that its owner has.
  std::vector<double> of_owners(const std::vector<double>& own,
                                const RowOwners& owners);

  // Comes instead of `sum` where this process can't go on.
  [[noreturn]] void fail(int64_t step, const VerdictError& error);

 private:
  std::vector<StepNote> meet(const StepNote& own);
  void sum_notes(const std::vector<StepNote>& notes, StepSums& sums);
  void sum_router_means(std::vector<at::Tensor>& means);

  parallel::ProcessGroup& group_;
  const Transformer& model_;
  bool router_means_;
};

// What each of N processes sends in a step in which every row is reached; where
// they hold parts, the one that sends most.
int64_t step_bytes_sent(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes,
                        Sharding shard = Sharding::kNone);

// The same of one of them.
int64_t step_bytes_sent_by(int64_t rank, const ModelConfig& config,
                           const NumberTypes& numbers, const TrainPlan& train,
                           int64_t processes, Sharding shard);

}  // namespace annuli::train

#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/data/loader.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/batch_ahead.h"
#include "annuli/train/frozen_entries.h"
#include "annuli/train/gradient_norm.h"
#include "annuli/train/gradient_sums.h"
#include "annuli/train/optimizer.h"
#include "annuli/train/schedule.h"
#include "annuli/train/step_exchange.h"
#include "annuli/train/step_record.h"
#include "annuli/train/step_share.h"
#include "annuli/train/step_sums.h"
#include "annuli/train/weight_sample.h"

// Training steps of one phase.
//
// What the phase freezes (frozen_entries.h) has no gradient; a row that is
// frozen in part is updated, and its frozen entries are put back. While the
// rate of new entries rises (`train.rewarm_of`), they go a share of the way
// that the update goes.
//
// Selection biases have no gradient: they move after the update, by the loads
// of the whole step (selection_bias.h).
//
// A step is a pure function of (weights, optimizer state, loader state, step
// number; with clip: previous_norm, the norm before): nothing else is kept, so
// a run that is stopped and resumed repeats bit for bit.
//
// Wherever the whole gradient need not exist at once, each parameter is updated
// inside the backward pass and its gradient freed at once. What is to be
// clipped needs the norm first (`train.clip`):
//
//   whole          the gradient is held until its norm is known
//   two_pass       forward and backward run twice, first for the norm alone:
//                  the bits of `whole`, twice the time, no gradient held
//   previous_norm  one pass, scaled by the norm of the step before; a phase's
//                  first step takes two. Inexact: a sudden rise is clipped one
//                  step late.
//
// With several passes to a step (accumulation, micro-batches) the gradient is
// held: their sum (gradient_sums.h). Losses are summed in the same order.
//
// Several processes share a step: each makes its parts (step_share.h), and sums
// of the parts are exchanged: what a step tells before the last backward pass
// (step_exchange.h), gradients inside it (staged_gradients.h), in the
// background. Nothing is under way when `step` returns. All call it alike,
// and have the same weights, state and records, those of one process, to the
// bit.
//
// With `shard` they hold the optimizer's state in parts, each of the rows that
// it owns (model/row_owners.h), and the gradients too: those go to their
// owners, who update at once unless what is to be clipped waits for the norm,
// and give the weights to all, inside the pass too: where the model is held in
// parts (model/weight_parts.h), those outside the layers.
//
// Errors: a loss that is not finite throws VerdictError before any update, on
// all processes wherever it came, and the weights are those of the step before.
// So does a gradient that is not, where its norm is known before the update.
// With the update inside the backward pass, with `shard` too, weights were
// updated with it by then: the text names the first such tensor, and the model
// and the optimizer must not be used or saved.
namespace annuli::train {

class Trainer {
 public:
  // All are borrowed and outlive the trainer.
  Trainer(Transformer& model, Optimizer& optimizer, data::Loader& loader,
          const TrainPlan& train, double weight_decay, uint64_t seed,
          parallel::ProcessGroup& group,
          std::optional<double> previous_norm = std::nullopt,
          Sharding shard = Sharding::kNone,
          const std::optional<PlaceInRun>& place = {},
          FrozenEntries frozen = {}, FrozenEntries old = {});
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Does step `step` (1 .. max_steps). `sample`, if given, sees the weights
  // before and after their update, and the mean squares of the stream.
  StepRecord step(int64_t step, WeightSample* sample = nullptr);

  // What the next step clips by, with clip: previous_norm. Part of the state.
  std::optional<double> previous_norm() const { return previous_norm_; }

 private:
  StepSums step_inside_backward(StepRecord& record);
  StepSums step_with_whole_gradient(StepRecord& record);
  StepSums step_with_owners(StepRecord& record);
  GradientSums sums_of_parts() const;
  // Is told the sums of all passes before the backward pass of the last one,
  // and gives what receives its gradients.
  using LastPass = std::function<GradientSink(StepSums sums)>;
  // The passes of several processes. `use` receives what is summed over all;
  // `used` is told of rows that it has received, or that others have.
  using Use = std::function<void(size_t row, at::Tensor sum)>;
  using Used = std::function<void(const std::vector<size_t>& rows)>;
  StepSums run_shared(StepRecord& record, Use use, Used used);
  // Returns the sums of all passes, unless `last` is told them.
  StepSums run_parts(int64_t step, GradientSums& gradients,
                     const LastPass& last = {});
  void note_norm_of_owners(const std::vector<double>& own);
  void update_own(const StepRecord& record, double scale,
                  std::vector<at::Tensor>& gradients);
  parallel::Begun give_updated(const std::vector<size_t>& rows);
  void give_all_updated();
  bool is_own(size_t row) const;
  // By the optimizer.
  bool is_updated(size_t row) const;
  void measure(const data::Batch& batch, int64_t step);
  Loss forward(const data::Batch& batch, int64_t step, int64_t pass);
  double clip_scale(double norm) const;
  double apply(size_t row, at::Tensor& weight, const at::Tensor& gradient,
               UpdateSettings settings, double share_of_new);
  static at::Tensor widened(const Transformer& model, size_t row);
  double update(size_t row, const at::Tensor& gradient,
                const StepRecord& record, double scale);
  void finish(StepRecord& record, StepSums sums);
  void move_biases(const StepRecord& record);

  Transformer& model_;
  Optimizer& optimizer_;
  const TrainPlan& train_;
  std::optional<PlaceInRun> place_;
  FrozenEntries frozen_;
  FrozenEntries old_;  // what the phase's growth did not add
  double weight_decay_;
  uint64_t seed_;
  std::optional<double> previous_norm_;
  StepShare share_;
  BatchAhead batches_;
  GradientNorm norm_;  // of this step
  parallel::ProcessGroup& group_;
  StepExchange exchange_;
  std::optional<RowOwners> owners_;  // if processes hold parts
  WeightSample* sample_ = nullptr;   // of this step
};

}  // namespace annuli::train

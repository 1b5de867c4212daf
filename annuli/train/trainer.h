#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/rng.h"
#include "annuli/data/loader.h"
#include "annuli/model/transformer.h"
#include "annuli/train/batch_ahead.h"
#include "annuli/train/optimizer.h"

// Training steps of one phase.
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
// With accumulation the gradient is held, in fp32 if it comes in bf16: sums of
// many passes would lose what is below 2^-9 of them.
//
// Errors: a loss that is not finite throws VerdictError before any update, and
// the weights are those of the step before. So does a gradient that is not,
// where its norm is known before the update. With the update inside the
// backward pass, weights were updated with it by then: the text names the first
// such tensor, and the model and the optimizer must not be used or saved.
namespace annuli::train {

struct StepRecord {
  int64_t step = 0;      // 1 .. max_steps of the phase
  double loss = 0;       // cross-entropy, nats per token
  double aux_loss = 0;   // unweighted; 0 if dense
  double z_loss = 0;     // unweighted; 0 if dense
  double grad_norm = 0;  // of the whole gradient, before clipping
  double learning_rate = 0;
  double loss_rise = 0;  // LossWatch's, by whoever watches; 0: none
  int64_t tokens = 0;    // in this step
  int stop_signal = 0;   // that asks one of several processes to stop
  std::vector<std::vector<int64_t>> load;  // [L][E] slots, empty if dense
};

// Fullest expert's slots over the mean, averaged over the layers; 1 is even.
double load_imbalance(const StepRecord& record);

// Experts without a slot, over all layers.
int64_t dead_experts(const StepRecord& record);

class Trainer {
 public:
  // All are borrowed and outlive the trainer.
  Trainer(Transformer& model, Optimizer& optimizer, data::Loader& loader,
          const TrainPlan& train, double weight_decay, uint64_t seed,
          std::optional<double> previous_norm = std::nullopt);

  // Does step `step` (1 .. max_steps).
  StepRecord step(int64_t step);

  // What the next step clips by, with clip: previous_norm. Part of the state.
  std::optional<double> previous_norm() const { return previous_norm_; }

 private:
  bool holds_gradient() const;
  Loss forward(const data::Batch& batch, int64_t step, int64_t micro_step);
  void measure(const data::Batch& batch, int64_t step);
  void step_inside_backward(StepRecord& record);
  void step_with_whole_gradient(StepRecord& record);
  void note_squares(size_t row, double squares);
  void require_finite_gradient(int64_t step, bool updated) const;
  double norm() const;
  double clip_scale(double norm) const;
  double update(size_t row, const at::Tensor& gradient,
                const StepRecord& record, double scale);
  void finish(StepRecord& record);

  Transformer& model_;
  Optimizer& optimizer_;
  const TrainPlan& train_;
  double weight_decay_;
  uint64_t seed_;
  std::optional<double> previous_norm_;
  BatchAhead batches_;
  int64_t sequence_length_;
  std::vector<double> squares_;          // per row, of this step's gradient
  std::optional<size_t> first_bad_row_;  // the first with squares not finite
  std::vector<at::Tensor> router_mean_;  // [L] of [D], of this step
};

// Takes the component along each layer's mean activation out of every row of
// its router: W -= (W u) u^T, u = mean / |mean|. Routing then sees the centred
// activation, in which tokens differ, and not the mean that they share.
// Routers in bf16 are rounded stochastically.
void project_routers(Transformer& model,
                     const std::vector<at::Tensor>& router_mean,
                     const CounterRng& rounding);

}  // namespace annuli::train

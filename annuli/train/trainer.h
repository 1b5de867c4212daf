#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/data/loader.h"
#include "annuli/model/transformer.h"
#include "annuli/train/optimizer.h"

// Training steps of one phase.
//
// A step is a pure function of (weights, optimizer state, loader state, step
// number): nothing else is kept, so a run that is stopped and resumed repeats
// bit for bit. Where nothing needs the whole gradient at once (no clipping, no
// accumulation) each parameter is updated inside the backward pass and its
// gradient freed at once.
//
// Errors: a loss that is not finite throws VerdictError before any update, and
// the weights are those of the step before.
namespace annuli::train {

struct StepRecord {
  int64_t step = 0;      // 1 .. max_steps of the phase
  double loss = 0;       // cross-entropy, nats per token
  double aux_loss = 0;   // unweighted; 0 if dense
  double z_loss = 0;     // unweighted; 0 if dense
  double grad_norm = 0;  // of the whole gradient, before clipping
  double learning_rate = 0;
  int64_t tokens = 0;                      // in this step
  std::vector<std::vector<int64_t>> load;  // [L][E] slots, empty if dense
  std::vector<double> router_grad_norm;    // [L], empty if dense
};

// Fullest expert's slots over the mean, averaged over the layers; 1 is even.
double load_imbalance(const StepRecord& record);

// Experts without a slot, over all layers.
int64_t dead_experts(const StepRecord& record);

class Trainer {
 public:
  // All are borrowed and outlive the trainer.
  Trainer(Transformer& model, Optimizer& optimizer, data::Loader& loader,
          const TrainPlan& train, double weight_decay, uint64_t seed);

  // Does step `step` (1 .. max_steps).
  StepRecord step(int64_t step);

 private:
  Loss forward(int64_t step, int64_t micro_step);
  void step_inside_backward(StepRecord& record);
  void step_with_whole_gradient(StepRecord& record);
  void note_gradient(size_t row, const at::Tensor& gradient, double scale);
  void update(size_t row, const at::Tensor& gradient, double rate,
              double scale);
  void finish(StepRecord& record);

  Transformer& model_;
  Optimizer& optimizer_;
  data::Loader& loader_;
  const TrainPlan& train_;
  double weight_decay_;
  uint64_t seed_;
  double squared_norm_ = 0;              // of this step's gradient
  std::vector<double> router_squares_;   // [L], of this step's gradient
  std::vector<at::Tensor> router_mean_;  // [L] of [D], of this step
};

// Takes the component along each layer's mean activation out of every row of
// its router: W -= (W u) u^T, u = mean / |mean|. Routing then sees the centred
// activation, in which tokens differ, and not the mean that they share.
void project_routers(Transformer& model,
                     const std::vector<at::Tensor>& router_mean);

}  // namespace annuli::train

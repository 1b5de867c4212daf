#pragma once

#include <cstdint>
#include <vector>

namespace annuli::train {

// What a training step has to tell.
struct StepRecord {
  int64_t step = 0;      // 1 .. max_steps of the phase
  double loss = 0;       // cross-entropy, nats per token
  double aux_loss = 0;   // unweighted; 0 if dense
  double z_loss = 0;     // unweighted; 0 if dense
  double grad_norm = 0;  // of the whole gradient, before clipping
  double learning_rate = 0;
  double loss_rise = 0;  // LossWatch's, by whoever watches; 0: none
  int64_t tokens = 0;    // in this step
  // The highest signal that asks one of the processes to stop, the same in all
  // of them; 0: none is asked.
  int stop_signal = 0;
  std::vector<std::vector<int64_t>> load;  // [L][E] slots, empty if dense
};

// Fullest expert's slots over the mean, averaged over the layers; 1 is even.
double load_imbalance(const StepRecord& record);

// Experts without a slot, over all layers.
int64_t dead_experts(const StepRecord& record);

}  // namespace annuli::train

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace annuli::train {

// What is measured in some steps only (weight_sample.h). Shares are of energy:
// sums of squares.
struct StepMeasures {
  double update_ratio = 0;         // ||change|| / ||weights|| of the blocks
  std::vector<double> weight_rms;  // [L], of a layer's matrices
  std::vector<double> stream_rms;  // [L], of the residual stream after a layer
  // Where the model grew by copying: how much of what was copied lies outside
  // the space in which copies are equal; and of the step's change of it.
  std::optional<double> copies_apart;
  std::optional<double> update_apart;
};

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
  // How often each text has been read by now; empty without epochs.
  std::vector<double> epochs = {};
  // The highest signal that asks one of the processes to stop, the same in all
  // of them; 0: none is asked.
  int stop_signal = 0;
  std::vector<std::vector<int64_t>> load;  // [L][E] slots, empty if dense
  std::optional<StepMeasures> measures;    // by whoever measures
};

// Fullest expert's slots over the mean, averaged over the layers; 1 is even.
double load_imbalance(const StepRecord& record);

// Experts without a slot, over all layers.
int64_t dead_experts(const StepRecord& record);

}  // namespace annuli::train

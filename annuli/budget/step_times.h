#pragma once

#include "annuli/budget/sending.h"

// How long a step takes whose processes send while they compute.
//
// The computing of a process goes on until it needs what is sent; operations
// are carried out one after the other, in the order in which they are begun:
// model/weight_parts.h, train/staged_gradients.h and train/trainer.h, counted
// stage by stage. What is hidden: a layer's weights behind the layer before it,
// a stage's gradients, and updated weights, behind the layers below it. What is
// not: the note before the last backward pass; the first layer's weights, the
// embedding's gradients and, if that took less time than sending, those of the
// layer above it; weights that are updated when the norm is known.
//
// A layer's share of the computing is that of its products, by its parameters.
// What the sending takes of the processor is not counted.
namespace annuli::budget {

struct StepTimes {
  double computing = 0;
  double sending = 0;   // all operations, one after the other
  double together = 0;  // of the step
};

StepTimes step_times(const ModelConfig& config, const NumberTypes& numbers,
                     const TrainPlan& train, const Sharing& sharing,
                     Sharding shard, double computing);

}  // namespace annuli::budget

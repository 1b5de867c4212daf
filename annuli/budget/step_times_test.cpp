#include "annuli/budget/step_times.h"

#include <gtest/gtest.h>

#include "annuli/config/plan.h"
#include "annuli/model/tensor_table.h"

namespace annuli::budget {
namespace {

ModelConfig config() {
  ModelPlan model;
  model.hidden_size = 512;
  model.intermediate_size = 2048;
  model.num_hidden_layers = 12;
  model.num_attention_heads = 8;
  return model_config(model, 8192);
}

StepTimes of(Sharding shard, const Link& link, double max_grad_norm = 0,
             int64_t processes = 2) {
  TrainPlan train;
  train.batch_size = 4;
  train.micro_batch_size = 1;
  train.max_grad_norm = max_grad_norm;
  return step_times(config(), number_types(Precision::kFp32), train,
                    {processes, link}, shard, 2);
}

constexpr Sharding kAll[] = {Sharding::kNone, Sharding::kOptimizer,
                             Sharding::kFull};
constexpr Link kFast = {.bytes_per_second = 1e15, .latency = 0};

TEST(StepTimes, OneProcessComputesOnly) {
  const StepTimes times = of(Sharding::kNone, {}, 0, 1);
  EXPECT_EQ(times.sending, 0);
  EXPECT_EQ(times.together, 2);
}

// The computing's shares add up to it.
TEST(StepTimes, WhatTakesNoTimeAddsNone) {
  for (const Sharding shard : kAll) {
    EXPECT_NEAR(of(shard, kFast).together, 2, 1e-6);
  }
}

// A step lies between the longer of the two and their sum, and what ends it,
// the embedding's gradients, is behind nothing.
TEST(StepTimes, HideSendingBehindComputing) {
  const Link link = {.bytes_per_second = 100e6, .latency = 0};
  const double embedding = 4.0 * 8192 * 512 / link.bytes_per_second;
  for (const Sharding shard : kAll) {
    const StepTimes times = of(shard, link);
    EXPECT_GT(times.sending, 0.3);
    EXPECT_GT(times.together, 2 + embedding);
    EXPECT_LT(times.together, 2 + times.sending - 0.1);
  }
}

// Where sending takes longer by far, it takes the step, but for the first
// layer's and the head's forward passes at most.
TEST(StepTimes, AreThoseOfTheSendingOnASlowLink) {
  const Link link = {.bytes_per_second = 1e5, .latency = 0};
  for (const Sharding shard : kAll) {
    const StepTimes times = of(shard, link);
    EXPECT_GE(times.together, times.sending);
    EXPECT_LT(times.together, times.sending + 2);
  }
}

// Weights that wait for the norm are given behind nothing.
TEST(StepTimes, WaitForTheNorm) {
  const Link link = {.bytes_per_second = 1e9, .latency = 0};
  EXPECT_GT(of(Sharding::kOptimizer, link, 1).together,
            of(Sharding::kOptimizer, link).together);
}

}  // namespace
}  // namespace annuli::budget

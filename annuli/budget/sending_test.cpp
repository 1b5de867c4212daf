#include "annuli/budget/sending.h"

#include <gtest/gtest.h>

#include "annuli/config/plan.h"
#include "annuli/model/tensor_table.h"

namespace annuli::budget {
namespace {

// 10.5 M parameters of 4 bytes, the embedding 16 MiB of them.
ModelConfig config() {
  ModelPlan model;
  model.hidden_size = 512;
  model.intermediate_size = 2048;
  model.num_hidden_layers = 2;
  model.num_attention_heads = 8;
  return model_config(model, 8192);
}

Sending of(int64_t processes) {
  TrainPlan train;
  train.batch_size = processes;
  train.micro_batch_size = 1;
  return sending_of_step(config(), number_types(Precision::kFp32), train,
                         processes);
}

TEST(Sending, OneProcessSendsNothing) {
  EXPECT_EQ(of(1).bytes, 0);
  EXPECT_EQ(of(1).rounds, 0);
  EXPECT_EQ(sending_memory(1 << 20, 1), 0);
}

// A gradient goes out and comes back but for the own share; each of the note,
// of which rows of a stage there are, and of two operations a bucket is agreed
// on before it is sent. Each of four stages is one bucket.
TEST(Sending, IsTwiceTheGradientWithoutTheOwnShare) {
  const auto gradient =
      static_cast<double>(4 * count_parameters(config()).total);
  ASSERT_GT(gradient, 32 << 20);
  ASSERT_LT(gradient, 64 << 20);
  for (const int64_t n : {2, 4, 8}) {
    const double share =
        2.0 * static_cast<double>(n - 1) / static_cast<double>(n);
    EXPECT_NEAR(static_cast<double>(of(n).bytes), share * gradient,
                1e-3 * gradient);
    EXPECT_EQ(of(n).rounds, 2 * (1 + 4 * 3) * (n - 1));
  }
}

TEST(Sending, HoldsThreeBucketsAtMost) {
  EXPECT_EQ(sending_memory(1000, 2), 3000);
  EXPECT_EQ(sending_memory(int64_t{1} << 33, 2), 3 * (32 << 20));
}

}  // namespace
}  // namespace annuli::budget

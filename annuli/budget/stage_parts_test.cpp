#include "annuli/budget/stage_parts.h"

#include <gtest/gtest.h>

#include "annuli/budget/sizes.h"

namespace annuli::budget {
namespace {

// To be shared out by hand. The embedding has 800 entries, each of two layers
// 784 (two of 256, four of 64, two of 8), the final norm 8. Of two owners the
// first gets the embedding, the second the norm and all of the first layer, so
// that it is 8 behind; the second layer is halved, 392 each.
ModelConfig config() {
  ModelPlan model;
  model.hidden_size = 8;
  model.intermediate_size = 32;
  model.num_hidden_layers = 2;
  model.num_attention_heads = 2;
  model.head_dim = 4;
  model.gated = false;
  model.tie_word_embeddings = true;
  return model_config(model, 100);
}

TEST(StageParts, CountsWhatIsOwnAndWhatIsFetched) {
  const ModelConfig model = config();
  const NumberTypes numbers;
  const StageParts parts(model, numbers, 2);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_TRUE(parts.has_tied_head());
  EXPECT_EQ(parts.own_weights(), 4 * 1192);
  // The second has 1184, and fetches the embedding.
  EXPECT_EQ(parts.weights_outside_layers(), 4 * (1184 + 800));
  EXPECT_EQ(parts.weights_in_layer(), 4 * (1184 + 800 + 392));
  // The first fetches the norm and both layers.
  EXPECT_EQ(parts.weights_in_pass(), 4 * (1192 + 8 + 784 + 392));
}

// In bf16 a weight is two bytes; its gradient stays in fp32.
TEST(StageParts, WeightsAndGradientsHaveTheirOwnTypes) {
  const ModelConfig model = config();
  const NumberTypes numbers = number_types(Precision::kBf16);
  const StageParts parts(model, numbers, 2);
  EXPECT_EQ(parts.weights_in_layer(), 2 * (1184 + 800 + 392));
  EXPECT_EQ(parts.gradients(1), 4 * 784);
}

TEST(StageParts, CountsTheGradientsOfAStageAndThoseThatStay) {
  const ModelConfig model = config();
  const NumberTypes numbers;
  const StageParts parts(model, numbers, 2);
  EXPECT_EQ(parts.gradients(0), 4 * 800);
  EXPECT_EQ(parts.gradients(1), 4 * 784);
  EXPECT_EQ(parts.gradients(2), 4 * 784);
  EXPECT_EQ(parts.gradients(3), 4 * 8);
  EXPECT_EQ(parts.own_gradients_from(3), 4 * 8);
  EXPECT_EQ(parts.own_gradients_from(2), 4 * (8 + 392));
  EXPECT_EQ(parts.own_gradients_from(1), 4 * (8 + 392 + 784));
  EXPECT_EQ(parts.own_gradients_from(0), 4 * 1192);
}

TEST(StageParts, SmallStagesAreOneExchangeOfTheirOwnSize) {
  const ModelConfig model = config();
  const NumberTypes numbers;
  const StageParts parts(model, numbers, 2);
  for (size_t stage = 0; stage < 4; ++stage) {
    EXPECT_EQ(parts.exchanges(stage, 4), 1);
  }
  EXPECT_EQ(parts.exchanges_of_all(4), 1);
  // The second owner has all of the first layer: the first packs and sends it.
  // Of the second layer each packs and sends half, and gets the other.
  EXPECT_EQ(parts.gradient_buckets(1), 4 * 784);
  EXPECT_EQ(parts.gradient_buckets(2), 4 * 2 * 392);
  // A weight's owner packs and sends it; the other gets it.
  EXPECT_EQ(parts.weight_buckets(1), 4 * 784);
  EXPECT_EQ(parts.weight_buckets(2), 4 * 2 * 392);
  EXPECT_EQ(parts.weight_buckets_of_all(), 4 * (1192 + 1184));
  // One way; both ways at once.
  EXPECT_EQ(parts.entries_through_link(1), 784);
  EXPECT_EQ(parts.entries_through_link(2), 392);
  EXPECT_EQ(parts.entries_through_link_of_all(), 1192);
}

// An embedding of 8192 x 512 is one owner's: 16 MiB in fp32, half a bucket, and
// of four processes two quarters.
TEST(StageParts, LargeStagesGoABucketAtATime) {
  ModelPlan plan;
  plan.hidden_size = 512;
  plan.intermediate_size = 2048;
  plan.num_hidden_layers = 2;
  plan.num_attention_heads = 8;
  const ModelConfig model = model_config(plan, 8192);
  const NumberTypes numbers;
  EXPECT_EQ(StageParts(model, numbers, 2).exchanges(0, 4), 1);
  EXPECT_EQ(StageParts(model, numbers, 4).exchanges(0, 4), 2);
  EXPECT_EQ(StageParts(model, numbers, 4).exchanges(0, 2), 1);
  const int64_t quarter = (32 << 20) / 4;
  // The owner gets three, another packs one and sends it; the owner sends a
  // weight's slice to three.
  EXPECT_EQ(StageParts(model, numbers, 4).gradient_buckets(0), 3 * quarter);
  EXPECT_EQ(StageParts(model, numbers, 4).weight_buckets(0), 4 * quarter);
}

}  // namespace
}  // namespace annuli::budget

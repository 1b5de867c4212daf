#include "annuli/budget/step_memory.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "annuli/budget/sizes.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/model/transformer.h"
#include "annuli/train/gradient_sums.h"
#include "annuli/train/optimizer.h"
#include "tests/support/tiny_model.h"

// The count of a step's tensors against what the allocator saw of a real step.
namespace annuli::budget {
namespace {

struct Case {
  bool mixture = false;
  bool tied = true;
  bool gated = false;
  bool checkpointing = false;
  bool holds_gradient = false;
  int64_t parts = 1;
  Precision precision = Precision::kFp32;
  // What only some families have.
  QkNorm qk_norm = QkNorm::kNone;
  NormPlacement norm_placement = NormPlacement::kPre;
  bool shared_expert = false;
  bool norm_topk_prob = true;
  // LayerNorm, biases, blocks beside each other, q, k and v in one tensor, a
  // quarter of each head turned.
  bool gpt_neox = false;
  bool muon = false;  // each matrix is updated as its gradient comes

  OptimizerPlan optimizer() const {
    return {.type = muon ? OptimizerType::kMuon : OptimizerType::kAdamw};
  }
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return fmt::format(
      "{}_{}_{}{}{}{}_{}_qknorm{}{}{}{}{}{}", c.mixture ? "mixture" : "dense",
      c.tied ? "tied" : "untied", c.gated ? "gated" : "ungated",
      c.checkpointing ? "_checkpointing" : "", c.holds_gradient ? "_held" : "",
      c.parts > 1 ? fmt::format("_parts{}", c.parts) : "",
      static_cast<int>(c.precision), static_cast<int>(c.qk_norm),
      c.norm_placement == NormPlacement::kPost ? "_post" : "",
      c.shared_expert ? "_shared" : "", c.norm_topk_prob ? "" : "_unscaled",
      c.gpt_neox ? "_gptneox" : "", c.muon ? "_muon" : "");
}

// Large enough that what malloc serves (below 1 MiB) is next to nothing.
ModelConfig config_of(const Case& c) {
  ModelConfig config;
  config.vocab_size = 6144;
  config.hidden_size = 384;
  config.intermediate_size = 1536;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 6;
  config.num_key_value_heads = 6;
  config.head_dim = 64;
  config.gated = c.gated;
  config.hidden_act = c.gated ? Activation::kSilu : Activation::kGelu;
  config.tie_word_embeddings = c.tied;
  config.qk_norm = c.qk_norm;
  config.norm_placement = c.norm_placement;
  if (c.gpt_neox) {
    config.norm_type = NormType::kLayer;
    config.parallel_residual = config.fused_qkv = true;
    config.qkv_bias = config.o_bias = config.mlp_bias = true;
    config.partial_rotary_factor = 0.25;
  }
  if (c.mixture) {
    config.num_experts = 4;
    config.num_experts_per_tok = 2;
    config.norm_topk_prob = c.norm_topk_prob;
  }
  if (c.parts > 1) {  // so that of the sets that wait none is malloc's
    config.hidden_size = 512;
    config.num_attention_heads = 8;
    config.num_key_value_heads = 8;
  }
  if (c.shared_expert) config.shared_expert_intermediate_size = 1536;
  return config;
}

class StepMemoryTest : public testing::TestWithParam<Case> {
 protected:
  static constexpr int64_t kBatch = 2;
  static constexpr int64_t kTokens = 1024;

  StepMemory counted() const {
    return step_memory(
        {.config = config_of(GetParam()),
         .numbers = number_types(GetParam().precision),
         .batch_size = kBatch,
         .sequence_length = kTokens,
         .gradient_checkpointing = GetParam().checkpointing,
         .holds_gradient = GetParam().holds_gradient,
         .parts = GetParam().parts,
         .update = update_memory(config_of(GetParam()), GetParam().optimizer(),
                                 number_types(GetParam().precision))});
  }

  // Most bytes in use at once during one step, weights not counted.
  int64_t measured() const {
    kernels::use_caching_allocator();
    const ModelConfig config = config_of(GetParam());
    Transformer model(config, number_types(GetParam().precision));
    initialize(model, 1);
    const at::Tensor tokens = tiny::tokens(kBatch, kTokens, config.vocab_size);
    kernels::release_cached_blocks();
    const int64_t before = kernels::cached_blocks().live;
    train::Optimizer optimizer(GetParam().optimizer(), model.table().size());
    train::GradientSums sums(model.table().size(), GetParam().parts, 1, false);
    for (int64_t part = 0; part < GetParam().parts; ++part) {
      GradientScope scope(model);
      LossOptions options;
      options.as_trained = true;
      options.gradient_checkpointing = GetParam().checkpointing;
      const Loss loss = model.loss(tokens, tokens, options);
      model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
        if (GetParam().holds_gradient) sums.add(row, gradient);
        if (!GetParam().muon) return;
        at::Tensor weight = model.weight(row).detach();
        optimizer.update(model.table()[row], row, weight, gradient,
                         {.learning_rate = 1e-3});
      });
      sums.end_pass();
    }
    return kernels::cached_blocks().peak - before;
  }
};

// 6 %: of a model whose vocabulary and heads are as small as this one's, what
// is not counted (masks, copies that live for a moment) weighs more than of a
// real one. A kernel that keeps one tensor of the stream more in each block
// is 4 of about 60 MiB, 7 %.
TEST_P(StepMemoryTest, IsWhatTheAllocatorSaw) {
  const auto expected = static_cast<double>(measured());
  const auto found = static_cast<double>(counted().total());
  EXPECT_NEAR(found / expected, 1, 0.06)
      << fmt::format("counted {:.1f} MiB, measured {:.1f} MiB", found / 1048576,
                     expected / 1048576);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool mixture : {false, true}) {
    for (const Precision precision :
         {Precision::kFp32, Precision::kBf16Mixed, Precision::kBf16}) {
      all.push_back({.mixture = mixture, .precision = precision});
      all.push_back({.mixture = mixture,
                     .tied = false,
                     .checkpointing = true,
                     .precision = precision});
    }
    all.push_back({.mixture = mixture, .gated = true});
    all.push_back({.mixture = mixture, .holds_gradient = true});
  }
  all.push_back({.holds_gradient = true, .parts = 4});
  all.push_back({.qk_norm = QkNorm::kHead});
  all.push_back(
      {.qk_norm = QkNorm::kFull, .norm_placement = NormPlacement::kPost});
  all.push_back(
      {.mixture = true, .shared_expert = true, .norm_topk_prob = false});
  for (const bool checkpointing : {false, true}) {
    all.push_back(
        {.tied = false, .checkpointing = checkpointing, .gpt_neox = true});
  }
  all.push_back(
      {.tied = false, .precision = Precision::kBf16Mixed, .gpt_neox = true});
  all.push_back({.muon = true});
  all.push_back({.mixture = true, .gated = true, .muon = true});
  all.push_back({.tied = false, .gpt_neox = true, .muon = true});
  all.push_back(
      {.checkpointing = true, .precision = Precision::kBf16, .muon = true});
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, StepMemoryTest, testing::ValuesIn(cases()),
                         name_of);

// Shape, not size: what a lever saves, the count must show.
TEST(StepMemory, LeversSaveWhatTheyShould) {
  StepShape shape{.config = config_of({.tied = false}),
                  .batch_size = 1,
                  .sequence_length = 4096};
  const StepMemory plain = step_memory(shape);
  shape.gradient_checkpointing = true;
  const StepMemory checkpointed = step_memory(shape);
  EXPECT_LT(checkpointed.activations, plain.activations / 2);
  shape.holds_gradient = true;
  shape.passes = 2;
  const StepMemory accumulated = step_memory(shape);
  EXPECT_GT(accumulated.gradients, checkpointed.gradients);
  // Two parts hold what two passes hold; four of two passes, three sets.
  shape.passes = 1;
  shape.parts = 2;
  EXPECT_EQ(step_memory(shape).total(), accumulated.total());
  shape.passes = 2;
  shape.parts = 4;
  EXPECT_GT(step_memory(shape).gradients, 2 * accumulated.gradients);
}

// Most bytes in use at once during a step of one window, weights not counted;
// with an optimizer that updates each row as its gradient comes.
int64_t peak_of_a_step(const ModelConfig& config, int64_t tokens,
                       train::Optimizer* optimizer = nullptr) {
  kernels::use_caching_allocator();
  Transformer model(config, NumberTypes());
  initialize(model, 1);
  const at::Tensor ids = tiny::tokens(1, tokens, config.vocab_size);
  kernels::release_cached_blocks();
  const int64_t before = kernels::cached_blocks().live;
  GradientScope scope(model);
  const Loss loss = model.loss(ids, ids, {.as_trained = true});
  model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    if (optimizer == nullptr) return;
    at::Tensor weight = model.weight(row).detach();
    optimizer->update(model.table()[row], row, weight, gradient,
                      {.learning_rate = 1e-3});
  });
  return kernels::cached_blocks().peak - before;
}

// Of a step of few tokens, as counted, which is what it really takes.
int64_t gradients_of_few_tokens(const ModelConfig& config) {
  const int64_t tokens = 32;
  const StepMemory counted = step_memory(
      {.config = config, .batch_size = 1, .sequence_length = tokens});
  EXPECT_EQ(counted.gradients, peak_of_a_step(config, tokens));
  return counted.gradients;
}

// Of few tokens and few words the widest moment is that of a layer's gradients:
// the matrices of its feed-forward. All else is below 1 MiB, which malloc
// serves.
TEST(StepMemory, OfFewTokensIsThatOfALayersGradients) {
  for (const bool gated : {false, true}) {
    ModelConfig config = config_of({.tied = false, .gated = gated});
    config.vocab_size = 128;
    config.intermediate_size = 6144;
    EXPECT_EQ(gradients_of_few_tokens(config),
              (gated ? 3 : 2) * tensor_bytes(384 * 6144, at::kFloat));
  }
}

// And what an update of one of them with Muon holds: two matrices like it, and
// a square that malloc serves.
TEST(StepMemory, OfFewTokensHasAMuonUpdateBesideThem) {
  ModelConfig config = config_of({.tied = false});
  config.vocab_size = 128;
  config.intermediate_size = 6144;
  const OptimizerPlan plan{.type = OptimizerType::kMuon};
  train::Optimizer optimizer(plan, tensor_table(config).size());
  StepShape shape{.config = config, .batch_size = 1, .sequence_length = 32};
  const StepMemory without = step_memory(shape);
  shape.update = update_memory(config, plan, shape.numbers);
  EXPECT_GE(step_memory(shape).total(), without.gradients + shape.update);
  EXPECT_EQ(
      peak_of_a_step(config, 32, &optimizer),
      without.gradients + shape.update - tensor_bytes(384 * 384, at::kFloat));
}

// The gradient of a table that is the head too begins at the head and ends at
// the embedding: at the widest moment between them it is there. An untied
// head's is gone by then.
TEST(StepMemory, ATiedTablesGradientIsThereInEveryBlock) {
  for (const bool tied : {false, true}) {
    ModelConfig config = config_of({.tied = tied});
    config.intermediate_size = 6144;
    // The table has as many entries as each matrix of the feed-forward.
    EXPECT_EQ(gradients_of_few_tokens(config),
              (tied ? 3 : 2) * tensor_bytes(384 * 6144, at::kFloat));
  }
}

}  // namespace
}  // namespace annuli::budget

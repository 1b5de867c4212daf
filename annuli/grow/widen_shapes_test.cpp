// Widening by other factors than one for all: sizes, fractions, groups.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/grow/head_layout.h"
#include "annuli/grow/transforms/fill.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/widen.h"
#include "tests/support/growth_checks.h"

namespace annuli::grow {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<Slice> slices(const std::vector<std::pair<int, int>>& pairs) {
  std::vector<Slice> result;
  for (const auto& [start, length] : pairs) result.push_back({start, length});
  return result;
}

// The layout's contract, head by head.
TEST(HeadLayouts, EveryHeadReadsACopyOfItsParentsKvHead) {
  const auto flat = [](const std::vector<Slice>& slices) {
    std::vector<int64_t> heads;
    for (const Slice& slice : slices) {
      for (int64_t i = 0; i < slice.length; ++i) {
        heads.push_back(slice.is_new() ? kNew : slice.start + i);
      }
    }
    return heads;
  };
  const int64_t sizes[][4] = {{4, 4, 8, 8},  {4, 4, 8, 4},   {4, 2, 12, 2},
                              {4, 2, 12, 6}, {4, 1, 12, 1},  {4, 1, 8, 2},
                              {4, 2, 4, 4},  {4, 1, 8, 8},   {4, 4, 5, 5},
                              {4, 2, 6, 3},  {4, 2, 12, 4},  {4, 2, 15, 5},
                              {4, 2, 10, 2}, {6, 2, 12, 12}, {4, 4, 10, 10}};
  for (const auto& [H, K, child_H, child_K] : sizes) {
    const HeadLayout layout = head_layout(H, K, child_H, child_K);
    const auto heads = flat(layout.heads);
    const auto kv_heads = flat(layout.kv_heads);
    ASSERT_EQ(static_cast<int64_t>(heads.size()), child_H);
    ASSERT_EQ(static_cast<int64_t>(kv_heads.size()), child_K);
    std::map<int64_t, int64_t> copies;
    for (int64_t h = 0; h < child_H; ++h) {
      if (heads[h] == kNew) continue;
      ++copies[heads[h]];
      EXPECT_EQ(kv_heads[h / (child_H / child_K)], heads[h] / (H / K))
          << H << K << child_H << child_K << ", head " << h;
    }
    EXPECT_EQ(static_cast<int64_t>(copies.size()), H);
    for (const auto& [head, count] : copies) EXPECT_EQ(count, copies[0]);
  }
}

TEST(HeadLayouts, CopiesStayInsideTheirGroup) {
  EXPECT_EQ(head_layout(4, 2, 8, 2).heads,
            slices({{0, 2}, {0, 2}, {2, 2}, {2, 2}}));
  EXPECT_EQ(head_layout(4, 2, 8, 4).heads, slices({{0, 4}, {0, 4}}));
  EXPECT_EQ(head_layout(4, 2, 4, 4).kv_heads,
            slices({{0, 1}, {0, 1}, {1, 1}, {1, 1}}));
}

TEST(NoisePairs, AreEqualSlicesWhereverTheyStand) {
  using Pair = std::pair<size_t, size_t>;
  EXPECT_THAT(noise_pairs(tile(8, 5)), ElementsAre(Pair(0, 1), Pair(2, 3)));
  EXPECT_THAT(
      noise_pairs(slices({{0, 2}, {-1, 1}, {2, 2}, {0, 2}, {-1, 1}, {2, 2}})),
      ElementsAre(Pair(0, 3), Pair(2, 5)));
}

struct ShapeCase {
  const char* name;
  WidenOptions options;
  int64_t kv_heads = 0;  // of the parent; 0: any
};

std::vector<ShapeCase> shape_cases() {
  return {
      {"hidden", {.hidden = 48}},
      {"hidden3", {.hidden = 72}},
      {"heads", {.heads = 8}},
      {"heads3", {.heads = 12}},
      {"ffn", {.ffn = 120}},
      {"mixed", {.hidden = 48, .heads = 12, .ffn = 80}},
      {"kv_more", {.hidden = 48, .heads = 8, .kv_heads = 8}, 2},
      {"kv_alone", {.kv_heads = 4}, 1},
      {"five_quarters", {.factor = 1.25}, 4},
      {"three_halves", {.factor = 1.5}, 2},
      {"five_halves", {.factor = 2.5}, 4},
      {"hidden_fraction", {.hidden = 31}},
      {"ffn_fraction", {.ffn = 47}},
      {"more_groups", {.heads = 10, .kv_heads = 5}, 2},
      {"larger_groups", {.hidden = 48, .heads = 6, .kv_heads = 2}, 2},
      {"copies_and_new", {.heads = 12, .kv_heads = 4}, 2},
  };
}

bool is_refused(const ModelConfig& config, const WidenOptions& options) {
  try {
    Widen(options).recipe(config, 1);
    return false;
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), AnyOf(HasSubstr("normalised over all heads"),
                                    HasSubstr("LayerNorm subtracts the mean")));
    return true;
  }
}

class WidenShapes : public ::testing::TestWithParam<ShapeCase> {};

INSTANTIATE_TEST_SUITE_P(Shapes, WidenShapes,
                         ::testing::ValuesIn(shape_cases()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// Residuals that are padded, not copied, keep the streams too; the limit is
// that of copies.
TEST_P(WidenShapes, KeepTheFunctionAndItsGradients) {
  int64_t tried = 0;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const ModelConfig config = tiny::config(flavour);
    const int64_t kv_heads = GetParam().kv_heads;
    if (kv_heads != 0 && kv_heads != config.num_key_value_heads) continue;
    SCOPED_TRACE(tiny::name_of(flavour));
    WidenOptions options = GetParam().options;
    options.head = WidenHead::kUntie;
    if (is_refused(config, options)) continue;
    ++tried;
    Transformer parent = tiny::model(config, at::kDouble);
    const Recipe noisy = Widen(options).recipe(config, 3);
    EXPECT_LE(tiny::logit_error(parent, tiny::grown(parent, noisy)),
              tiny::growth_limit(at::kDouble, true));
    options.noise_snr_db.reset();
    const Recipe clean = Widen(options).recipe(config, 3);
    Transformer child = tiny::grown(parent, clean);
    const auto gradients = tiny::gradient_error(parent, child, clean);
    EXPECT_LE(gradients.error, 1e-12) << gradients.tensor;
    const Transformer single = tiny::model(config, at::kFloat);
    EXPECT_LE(tiny::logit_error(single, tiny::grown(single, noisy)),
              tiny::growth_limit(at::kFloat, true));
  }
  EXPECT_GE(tried, 3);
}

// A kv head's copies serve other heads, so their gradients differ: nothing that
// could be carried.
TEST(WidenState, KvHeadsThatSplitTheirGroupStartAnew) {
  const ModelConfig config = tiny::config({.num_key_value_heads = 2});
  const auto carried = [&](const WidenOptions& options, Part part) {
    const Recipe recipe = Widen(options).recipe(config, 1);
    return recipe.tensors[find_row(tensor_table(recipe.child), part, 0)]
        .carry_state;
  };
  EXPECT_FALSE(carried({.kv_heads = 4}, Part::kK));
  EXPECT_FALSE(carried({.kv_heads = 4}, Part::kV));
  EXPECT_TRUE(carried({.kv_heads = 4}, Part::kQ));
  EXPECT_TRUE(carried({.heads = 8, .kv_heads = 4}, Part::kK));
  EXPECT_TRUE(carried({.heads = 8}, Part::kK));
}

class Fractions : public ::testing::Test {
 protected:
  Transformer parent_ =
      tiny::model(tiny::config({.gated = true, .qk_norm = true}), at::kDouble);
  Recipe recipe_ = Widen({.factor = 1.25}).recipe(parent_.config(), 3);

  double error() const {
    return tiny::logit_error(parent_, tiny::grown(parent_, recipe_));
  }
  TensorRecipe& line(Part part, int64_t layer = -1) {
    return recipe_.tensors[find_row(tensor_table(recipe_.child), part, layer)];
  }
};

TEST_F(Fractions, KeepATiedHeadTied) {
  EXPECT_TRUE(recipe_.child.tie_word_embeddings);
  EXPECT_EQ(recipe_.child.rms_norm_eps, parent_.config().rms_norm_eps * 0.8);
  EXPECT_LE(error(), 1e-12);
}

TEST_F(Fractions, NeedEpsScaled) {
  recipe_.child.rms_norm_eps = parent_.config().rms_norm_eps;
  EXPECT_GE(error(), 1e-7);
}

TEST_F(Fractions, NeedGainsScaled) {
  line(Part::kInputNorm, 0).scale = 1;
  EXPECT_GE(error(), 1e-3);
}

TEST_F(Fractions, NeedNormalisedQueriesScaled) {
  line(Part::kQ, 0).scale = 1;
  EXPECT_GE(error(), 1e-9);
}

TEST_F(Fractions, NeedZerosWhereTheyWrite) {
  line(Part::kDown, 1).set(std::make_shared<Fill>(Fill::Value::kNormal, 0.02));
  EXPECT_GE(error(), 1e-3);
}

// New coordinates and units must not be dead: everything gets a gradient within
// two steps of a path that is open at one end.
TEST_F(Fractions, NewEntriesReadAndLearn) {
  Transformer child = tiny::grown(parent_, recipe_);
  const at::Tensor q =
      child.weight(find_row(child.table(), Part::kQ, 0));  // [30, 30]
  EXPECT_NEAR(q.narrow(1, 24, 6).std().item<double>(),
              parent_.config().initializer_range, 0.05);
  const auto gradients =
      tiny::gradients(child, tiny::growth_probe(child.config()),
                      tiny::growth_probe(child.config(), 8));
  const auto moves = [&](Part part, int64_t dim, int64_t first) {
    const at::Tensor& g = gradients[find_row(child.table(), part, 1)];
    const at::Tensor fresh = g.narrow(dim, first, g.size(dim) - first);
    return fresh.abs().max().item<double>() > 0;
  };
  EXPECT_TRUE(moves(Part::kDown, 0, 24));
  EXPECT_TRUE(moves(Part::kDown, 1, 40));
  EXPECT_TRUE(moves(Part::kO, 1, 24));
}

TEST(WidenRefuses, WhatCannotBe) {
  const ModelConfig grouped = tiny::config({.num_key_value_heads = 2});
  const auto refuse = [](const ModelConfig& config, WidenOptions options) {
    Widen(options).recipe(config, 1);
  };
  EXPECT_THAT([&] { refuse(grouped, {.factor = 1.25}); },
              ThrowsMessage<UserError>(HasSubstr("widen.kv_heads")));
  EXPECT_THAT([&] { refuse(grouped, {.hidden = 23}); },
              ThrowsMessage<UserError>(HasSubstr("at least the parent's 24")));
  EXPECT_THAT([&] { refuse(grouped, {.factor = 1}); },
              ThrowsMessage<UserError>(HasSubstr("no axis that grows; give")));
  EXPECT_THAT([&] { refuse(grouped, {.heads = 5}); },
              ThrowsMessage<UserError>(HasSubstr("multiple of 2 kv heads")));
  EXPECT_THAT([&] { refuse(grouped, {.kv_heads = 3}); },
              ThrowsMessage<UserError>(HasSubstr("multiple of 3 kv heads")));
  EXPECT_THAT([&] { refuse(grouped, {.shared_ffn = 80}); },
              ThrowsMessage<UserError>(HasSubstr("no shared expert")));
  ModelConfig neox = tiny::config({.layer_norm = true});
  EXPECT_THAT([&] { refuse(neox, {.hidden = 36}); },
              ThrowsMessage<UserError>(HasSubstr("a multiple of 24")));
  neox = tiny::config({.layer_norm = true, .fused_qkv = true});
  EXPECT_THAT([&] { refuse(neox, {.heads = 8, .kv_heads = 4}); },
              ThrowsMessage<UserError>(HasSubstr("as many as heads, 8")));
}

// Heads of one tensor are widened together, and copies of them with noise
// between the copies of what they read.
TEST(WidenFused, QueriesKeysAndValuesFollowTheirHeads) {
  const ModelConfig config =
      tiny::config({.tied = false, .qkv_bias = true, .fused_qkv = true});
  const Recipe recipe = Widen({.hidden = 48, .heads = 8}).recipe(config, 1);
  EXPECT_EQ(recipe.child.num_key_value_heads, 8);
  const TensorRecipe& qkv =
      recipe.tensors[find_row(tensor_table(recipe.child), Part::kQkv, 1)];
  EXPECT_EQ(qkv.shape, (std::vector<int64_t>{8 * 3 * 6, 48}));
  EXPECT_EQ(qkv.dimensions[0].slices, slices({{0, 72}, {0, 72}}));
  EXPECT_NE(qkv.find<Noise>(), nullptr);
}

// A norm's bias is copied; of the last one the head's share is taken too, where
// the head is tied to a table that is copied.
TEST(WidenLayerNorm, BiasesAreCopiedAndTheLastIsFolded) {
  const ModelConfig config = tiny::config({.layer_norm = true});
  const auto scale = [&](WidenHead head, Part part, int64_t layer) {
    const Recipe recipe = Widen({.head = head, .hidden = 48}).recipe(config, 1);
    return recipe.tensors[find_row(tensor_table(recipe.child), part, layer)]
        .scale;
  };
  EXPECT_EQ(scale(WidenHead::kFold, Part::kInputNormBias, 1), 1);
  EXPECT_EQ(scale(WidenHead::kFold, Part::kFinalNormBias, -1), 0.5);
  EXPECT_EQ(scale(WidenHead::kUntie, Part::kFinalNormBias, -1), 1);
}

TEST(WidenStorage, ThirdsNeedMoreThanBf16) {
  const ModelConfig config = tiny::config();
  const Recipe two = Widen({.factor = 2}).recipe(config, 1);
  const Recipe three = Widen({.factor = 3}).recipe(config, 1);
  EXPECT_FALSE(storage_breaks_exactness(two, at::kBFloat16));
  EXPECT_TRUE(storage_breaks_exactness(three, at::kBFloat16));
  EXPECT_TRUE(storage_breaks_exactness(three, at::kHalf));
  EXPECT_FALSE(storage_breaks_exactness(three, at::kFloat));
}

TEST(WidenOnDisk, KeepsTheFunctionOfOtherShapes) {
  const Transformer parent = tiny::model(
      tiny::config({.gated = true, .qk_norm = true, .num_key_value_heads = 2}),
      at::kFloat);
  for (const WidenOptions& options :
       {WidenOptions{.factor = 1.5}, WidenOptions{.heads = 8},
        WidenOptions{.hidden = 31}}) {
    const Transformer loaded = tiny::through_disk(
        tiny::grown(parent, Widen(options).recipe(parent.config(), 3)));
    EXPECT_LE(tiny::logit_error(parent, loaded),
              tiny::growth_limit(at::kFloat, true));
  }
}

}  // namespace
}  // namespace annuli::grow

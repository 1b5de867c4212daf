// Noise on weights: its size, its stream, what it leaves alone, and where in a
// chain it may stand.
#include "annuli/grow/transforms/perturb.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/registry.h"
#include "annuli/kernels/normal_fill.h"
#include "tests/support/growth_checks.h"

namespace annuli::grow {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

ModelConfig config_with_every_part() {
  return tiny::config({.mixture = true,
                       .gated = true,
                       .tied = false,
                       .qk_norm = true,
                       .qkv_bias = true,
                       .shared_expert = true});
}

double rms(const at::Tensor& x) {
  return x.to(at::kDouble).square().mean().sqrt().item<double>();
}

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  at::Tensor x = at::empty(shape, at::kDouble);
  kernels::fill_normal(x, CounterRng(1, "perturb test"), 0.3);
  return x.to(dtype);
}

TensorRecipe perturbed(int64_t rows, int64_t columns, double relative_std,
                       uint64_t stream = 9) {
  TensorRecipe line;
  line.child = line.parent = "matrix";
  line.shape = {rows, columns};
  line.dimensions = {{{{0, rows}}, 1}, {{{0, columns}}, 1}};
  line.set(std::make_shared<Perturb>(relative_std, stream));
  return line;
}

// 33 * 301 numbers: the deviation has a standard error of 0.7 %, and so has
// what the noise shares with the weight.
TEST(Perturb, IsAShareOfTheRootMeanSquare) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const at::Tensor parent = random({33, 301}, dtype);
    const at::Tensor child = apply(perturbed(33, 301, 0.1), parent, 4, dtype);
    const at::Tensor noise = child.to(at::kDouble) - parent.to(at::kDouble);
    EXPECT_NEAR(rms(noise) / rms(parent), 0.1, 0.1 * 0.045);
    EXPECT_NEAR((noise * parent.to(at::kDouble)).mean().item<double>() /
                    (rms(noise) * rms(parent)),
                0, 6 / std::sqrt(33.0 * 301));
  }
}

TEST(Perturb, FollowsFromSeedAndStreamAlone) {
  const at::Tensor parent = random({7, 5}, at::kFloat);
  const auto child = [&](uint64_t seed, uint64_t stream) {
    return apply(perturbed(7, 5, 0.1, stream), parent, seed, at::kFloat);
  };
  EXPECT_TRUE(at::equal(child(1, 2), child(1, 2)));
  EXPECT_FALSE(at::equal(child(1, 2), child(2, 2)));
  EXPECT_FALSE(at::equal(child(1, 2), child(1, 3)));
}

TEST(Perturb, PiecesAreTheWhole) {
  for (const at::ScalarType dtype :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor parent = random({11, 7}, dtype);
    const TensorRecipe line = perturbed(11, 7, 0.1);
    const at::Tensor whole = apply(line, parent, 4, dtype);
    const RowMaker maker(line, parent, 4, dtype);
    for (int64_t piece = 1; piece <= 11; ++piece) {
      at::Tensor rows = at::empty({11, 7}, dtype);
      for (int64_t row = 0; row < 11; row += piece) {
        maker.make(row, std::min<int64_t>(11, row + piece),
                   rows[row].data_ptr());
      }
      EXPECT_TRUE(at::equal(rows, whole)) << piece;
    }
  }
}

// c W + s rms(W) z: the noise is set against what stood there before.
TEST(ShrinkPerturb, IsPerturbationOfWhatIsMadeSmaller) {
  const at::Tensor parent = random({33, 301}, at::kDouble);
  const at::Tensor noise =
      apply(perturbed(33, 301, 0.1), parent, 4, at::kDouble) - parent;
  TensorRecipe line = perturbed(33, 301, 0.1);
  line.set(std::make_shared<Perturb>(0.1, 9, 0.4));
  const at::Tensor child = apply(line, parent, 4, at::kDouble);
  EXPECT_LE((child - (0.4 * parent + noise)).abs().max().item<double>(), 1e-15);
  line.set(std::make_shared<Perturb>(0, 9, 0.5));
  EXPECT_TRUE(at::equal(apply(line, parent, 4, at::kDouble), 0.5 * parent));
}

TEST(ShrinkPerturb, TouchesEveryMatrixAndNothingElse) {
  const ModelConfig config = config_with_every_part();
  const Recipe recipe = ShrinkPerturbation({}).recipe(config, 3);
  EXPECT_EQ(recipe.child, config);
  EXPECT_FALSE(recipe.exact);
  const TensorTable table = tensor_table(config);
  for (size_t row = 0; row < table.size(); ++row) {
    const auto* found = recipe.tensors[row].find<Perturb>();
    ASSERT_EQ(found != nullptr, table[row].is_matrix()) << table[row].name;
    if (found != nullptr) {
      EXPECT_EQ(found->factor(), 0.5);
    }
    EXPECT_FALSE(recipe.tensors[row].carry_state);
    EXPECT_EQ(recipe.tensors[row].lr_multiplier, 1);
  }
  const Json json = to_json(recipe);
  EXPECT_EQ(to_json(recipe_from_json(json)), json);
}

TEST(ShrinkPerturb, NothingToDoIsRefused) {
  EXPECT_THAT(
      [&] {
        ShrinkPerturbation({.shrink = 1, .relative_std = 0})
            .recipe(tiny::config(), 3);
      },
      ThrowsMessage<UserError>(HasSubstr("which change nothing")));
  EXPECT_THAT(
      [&] {
        make_operator(read_chain("[widen: {}, shrink_perturb: {}]", "test"))
            ->recipe(tiny::config(), 3);
      },
      ThrowsMessage<UserError>(
          HasSubstr("expected shrink_perturb in front of that step")));
  EXPECT_THAT(
      [&] {
        make_operator(
            read_chain("[widen: {noise_snr_db: null}, shrink_perturb: "
                       "{}, widen: {noise_snr_db: null}]",
                       "test"))
            ->recipe(tiny::config(), 3);
      },
      ThrowsMessage<UserError>(HasSubstr("copies that were given noise")));
}

TEST(Perturb, LeavesZerosAlone) {
  const at::Tensor zeros = at::zeros({4, 6}, at::kFloat);
  EXPECT_TRUE(
      at::equal(apply(perturbed(4, 6, 0.5), zeros, 1, at::kFloat), zeros));
}

Recipe recipe_of_groups(const ModelConfig& config,
                        std::vector<MatrixGroup> groups) {
  return Perturbation({.relative_std = 0.1, .tensors = std::move(groups)})
      .recipe(config, 3);
}

TEST(Perturb, TouchesTheMatricesOfItsGroupsAlone) {
  const ModelConfig config = config_with_every_part();
  const std::map<MatrixGroup, std::set<Part>> parts = {
      {MatrixGroup::kAttention, {Part::kQ, Part::kK, Part::kV, Part::kO}},
      {MatrixGroup::kFeedForward, {Part::kGate, Part::kUp, Part::kDown}},
      {MatrixGroup::kRouter, {Part::kRouter}},
      {MatrixGroup::kEmbedding, {Part::kEmbedding, Part::kHead}}};
  for (const auto& [group, expected] : parts) {
    const Recipe recipe = recipe_of_groups(config, {group});
    EXPECT_EQ(recipe.child, config);
    EXPECT_FALSE(recipe.exact);
    EXPECT_EQ(recipe.loss_budget, 0.1);
    const TensorTable table = tensor_table(config);
    for (size_t row = 0; row < table.size(); ++row) {
      const TensorRecipe& line = recipe.tensors[row];
      const bool touched = line.find<Perturb>() != nullptr;
      EXPECT_EQ(touched, expected.contains(table[row].part)) << table[row].name;
      EXPECT_EQ(line.is_identity(), !touched);
      EXPECT_TRUE(line.carry_state);
    }
  }
}

TEST(Perturb, CarriesTheStateAsItIs) {
  const ModelConfig config = tiny::config({.gated = true});
  const Recipe recipe = recipe_of_groups(config, {MatrixGroup::kAttention});
  std::vector<TensorState> states;
  for (const TensorSpec& spec : tensor_table(config)) {
    states.push_back({.m = random(spec.shape(), at::kFloat),
                      .v = random(spec.shape(), at::kFloat).square(),
                      .step = 7});
  }
  std::vector<TensorState> given = states;
  const auto carried = grow_state(recipe, std::move(given),
                                  {OptimizerState::kCarry, Dynamics::kExact});
  for (size_t row = 0; row < states.size(); ++row) {
    EXPECT_TRUE(at::equal(carried[row].m, states[row].m));
    EXPECT_TRUE(at::equal(carried[row].v, states[row].v));
    EXPECT_EQ(carried[row].step, 7);
    EXPECT_EQ(carried[row].lr_multiplier, 1);
  }
}

TEST(Perturb, SurvivesJson) {
  const Recipe recipe =
      recipe_of_groups(tiny::config(), {MatrixGroup::kFeedForward});
  const Json json = to_json(recipe);
  EXPECT_EQ(to_json(recipe_from_json(json)), json);
}

// After a step that cuts, tiles or draws, nobody knows the size of what the
// noise was set against but the one who made it.
TEST(Perturb, IsRefusedAfterWhatTheProofCannotFollow) {
  const ModelConfig config = tiny::config({.gated = true});
  for (const char* steps :
       {"[widen: {}, perturb: {}]", "[upcycle: {granularity: 2}, perturb: {}]",
        "[upcycle: {drop_ratio: 0.5}, perturb: {}]",
        "[perturb: {}, perturb: {}]"}) {
    EXPECT_THAT(
        [&] { make_operator(read_chain(steps, "test"))->recipe(config, 3); },
        ThrowsMessage<UserError>(
            HasSubstr("expected perturb in front of that step")))
        << steps;
  }
}

TEST(Perturb, NothingToPerturbIsRefused) {
  const ModelConfig dense = tiny::config({.gated = true});
  EXPECT_THAT([&] { recipe_of_groups(dense, {}); },
              ThrowsMessage<UserError>(HasSubstr("found nothing")));
  EXPECT_THAT([&] { recipe_of_groups(dense, {MatrixGroup::kRouter}); },
              ThrowsMessage<UserError>(HasSubstr("the parent is dense")));
}

}  // namespace
}  // namespace annuli::grow

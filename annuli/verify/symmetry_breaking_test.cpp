#include "annuli/verify/symmetry_breaking.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <optional>

#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/verify/verify_growth.h"
#include "tests/support/bare_training.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

constexpr int64_t kSteps = 5;

tiny::GrownPair widened(const tiny::Flavour& flavour, int64_t n,
                        double snr_db) {
  return tiny::grown_pair(flavour,
                          grow::Widen(WidenPlan{n, snr_db, WidenHead::kUntie}));
}

// The recipe still asks for noise; the child has none.
Transformer without_noise(const tiny::GrownPair& pair) {
  return grow::grow(tiny::clone(pair.parent), grow::without_noise(pair.recipe));
}

std::vector<Verdict> at_growth(const tiny::GrownPair& pair,
                               Transformer& child) {
  return symmetry_at_growth(pair.recipe, pair.probe, *pair.control, child);
}

std::vector<Verdict> after_training(const tiny::GrownPair& pair,
                                    const Transformer& child) {
  tiny::Trainee trainee = tiny::trainee(tiny::clone(child));
  tiny::train(trainee, 0, kSteps, {});
  return symmetry_after_phase(
      pair.recipe, *pair.control,
      [&](const std::string& name) { return pair.parent.weight(name); }, kSteps,
      trainee.model);
}

class SymmetryBreaking : public ::testing::TestWithParam<tiny::Flavour> {};

INSTANTIATE_TEST_SUITE_P(
    Flavours, SymmetryBreaking,
    ::testing::Values(
        tiny::Flavour{.gated = false, .tied = true},
        tiny::Flavour{.gated = true, .qk_norm = true, .num_key_value_heads = 2},
        tiny::Flavour{.mixture = true, .gated = true, .tied = false}),
    [](const auto& info) { return tiny::name_of(info.param); });

TEST_P(SymmetryBreaking, NoisePartsTheGradientsOfCopies) {
  for (const int64_t n : {2, 3}) {
    auto pair = widened(GetParam(), n, 10);
    const auto verdicts = at_growth(pair, pair.child);
    ASSERT_EQ(verdicts.size(), 3U);
    EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  }
}

// The asked power is reached to 0.1 dB, and is what is measured: a recipe that
// asks for another one is not satisfied.
TEST_P(SymmetryBreaking, RealisedNoiseIsTheAsked) {
  for (const double snr_db : {10, 20, 40}) {
    auto pair = widened(GetParam(), 2, snr_db);
    EXPECT_TRUE(at_growth(pair, pair.child)[0].passed)
        << tiny::lines(at_growth(pair, pair.child));
    for (grow::TensorRecipe& tensor : pair.recipe.tensors) {
      if (const auto* noise = tensor.find<grow::Noise>()) {
        tensor.set(
            std::make_shared<grow::Noise>(noise->snr_db + 0.3, noise->stream));
      }
    }
    EXPECT_FALSE(at_growth(pair, pair.child)[0].passed);
  }
}

// A layer that was added with zero outputs has nothing to carry noise.
TEST_P(SymmetryBreaking, ZeroMatricesAreNotAsked) {
  const auto deep = tiny::grown_pair(
      GetParam(), grow::Deepen(DeepenPlan{.preset = DeepenPreset::kCopyLast,
                                          .add_layers = 1}));
  auto pair = tiny::grown_pair(deep.child,
                               grow::Widen(WidenPlan{2, 10, WidenHead::kUntie})
                                   .recipe(deep.child.config(), 1));
  const Verdict noise = at_growth(pair, pair.child)[0];
  EXPECT_TRUE(noise.passed) << to_line(noise);
}

// Where one axis alone grows no matrix is copied on both sides; what can be
// measured is the noise.
TEST_P(SymmetryBreaking, OneAxisAloneIsJudgedByItsNoise) {
  WidenPlan plan{.noise_snr_db = 10};
  plan.ffn = 2 * tiny::config(GetParam()).intermediate_size;
  auto pair = tiny::grown_pair(GetParam(), grow::Widen(plan));
  auto verdicts = at_growth(pair, pair.child);
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_TRUE(verdicts[0].passed) << tiny::lines(verdicts);
  EXPECT_TRUE(after_training(pair, pair.child).empty());
  Transformer child = without_noise(pair);
  EXPECT_FALSE(at_growth(pair, child)[0].passed);
}

// sqrt(C) eps is 1e-6 for the C = 61 * 2 terms of these models, and less: the
// copies run through the same operations on equal numbers.
TEST_P(SymmetryBreaking, WithoutNoiseTheGradientsAreEqualAndItIsSeen) {
  for (const int64_t n : {2, 3}) {
    auto pair = widened(GetParam(), n, 10);
    EXPECT_LE(pair.control->gradient_difference, 1e-6);
    Transformer child = without_noise(pair);
    const auto verdicts = at_growth(pair, child);
    EXPECT_FALSE(verdicts[0].passed) << tiny::lines(verdicts);
    EXPECT_EQ(verdicts[0].layer, 0);
    EXPECT_EQ(verdicts[0].tensor, "model.layers.0.self_attn.q_proj.weight");
    EXPECT_FALSE(verdicts[1].passed) << tiny::lines(verdicts);
    EXPECT_TRUE(verdicts[2].passed) << tiny::lines(verdicts);
  }
}

TEST_P(SymmetryBreaking, NoiseMissingInOneTensorIsNamed) {
  auto pair = widened(GetParam(), 2, 10);
  const size_t row = pair.row(Part::kO, 1);
  pair.weight(Part::kO, 1).copy_(without_noise(pair).weight(row));
  const auto verdicts = at_growth(pair, pair.child);
  EXPECT_FALSE(verdicts[0].passed);
  EXPECT_EQ(verdicts[0].layer, 1);
  EXPECT_EQ(verdicts[0].tensor, pair.child.table()[row].name);
}

TEST_P(SymmetryBreaking, TrainingPartsCopiesWithNoiseAndNeverWithout) {
  auto pair = widened(GetParam(), 2, 10);
  const auto parted = after_training(pair, pair.child);
  EXPECT_EQ(tiny::first_failure(parted), nullptr) << tiny::lines(parted);

  // The same growth, asked for without noise: dW is measured from what it was.
  pair.child = without_noise(pair);
  for (grow::TensorRecipe& tensor : pair.recipe.tensors) {
    tensor.remove<grow::Noise>();
  }
  const auto stuck = after_training(pair, pair.child);
  ASSERT_EQ(stuck.size(), 4U);
  for (const Verdict& verdict : stuck) {
    EXPECT_FALSE(verdict.passed) << tiny::lines(stuck);
  }
}

// Decay shrinks the noise itself. Copies whose gradients are equal must be seen
// for what they are although the default of 0.01 is on; and it must not hide
// copies that did part.
TEST_P(SymmetryBreaking, WeightDecayAloneDoesNotPartCopies) {
  auto pair = widened(GetParam(), 2, 10);
  const auto judged = [&](double decay, bool parts) {
    Transformer trained = tiny::clone(pair.child);
    for (size_t row = 0; row < trained.table().size(); ++row) {
      if (pair.recipe.tensors[row].find<grow::Noise>() == nullptr) continue;
      const at::Tensor weight = trained.weight(row);
      const double size = 1e-2 * weight.std().item<double>();
      at::Tensor step = at::full_like(weight, size);
      if (parts) kernels::fill_normal(step, CounterRng(row, "parts"), size);
      weight.mul_(1 - decay).add_(step);
    }
    return symmetry_after_phase(
        pair.recipe, *pair.control,
        [&](const std::string& name) { return pair.parent.weight(name); },
        kSteps, trained);
  };
  for (const double decay : {0.0, 1e-3}) {
    for (const Verdict& verdict : judged(decay, false)) {
      EXPECT_FALSE(verdict.passed) << decay << to_line(verdict);
    }
    EXPECT_EQ(tiny::first_failure(judged(decay, true)), nullptr) << decay;
  }
}

// Not asked for, so not measured; but it is said.
TEST(SymmetryOfCopies, AWideningWithoutNoiseIsAWarning) {
  auto pair = tiny::grown_pair(
      {}, grow::Widen(WidenPlan{.factor = 2, .noise_snr_db = std::nullopt}));
  const auto verdicts = copies_without_noise(pair.recipe);
  const Verdict* found = tiny::first_failure(verdicts);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->check, "symmetry_breaking");
  EXPECT_FALSE(found->stops());
  EXPECT_EQ(to_line(*found).substr(0, 7), "warning");
  EXPECT_TRUE(copies_without_noise(widened({}, 2, 10).recipe).empty());
}

TEST(SymmetryControl, AControlThatParted) {
  auto pair = widened({}, 2, 10);
  pair.control->gradient_difference = 1e-4;
  EXPECT_FALSE(at_growth(pair, pair.child)[2].passed);
}

TEST(SymmetryControl, LeavesTheParentAsItWas) {
  const tiny::GrownPair pair = widened({}, 2, 10);
  for (size_t row = 0; row < pair.parent.table().size(); ++row) {
    EXPECT_TRUE(pair.parent.weight(row).defined());
    EXPECT_FALSE(pair.parent.weight(row).requires_grad());
  }
}

}  // namespace
}  // namespace annuli::verify

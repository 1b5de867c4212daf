// Growth of models whose weights are stored and trained in bf16: exact where it
// is exact in fp32, judged by fp32 and fp64 arithmetic on the stored weights,
// at the limits of those.

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/rng.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/verify/verify_growth.h"
#include "tests/support/bare_training.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

constexpr int64_t kSteps = 5;

class Bf16Growth : public testing::TestWithParam<tiny::Flavour> {
 protected:
  tiny::GrownPair grown(const grow::Operator& op) const {
    return tiny::grown_pair(GetParam(), op, at::kBFloat16);
  }
};

grow::Widen widen(int64_t n) {
  return grow::Widen(WidenPlan{n, 10, WidenHead::kUntie});
}

// What rounding may do to logits: fp32's and fp64's limits and no more.
void expect_limits_of_exact_storage(const std::vector<Verdict>& verdicts) {
  for (const Verdict& verdict : verdicts) {
    if (verdict.check != "functional_identity" || verdict.at_least) continue;
    const bool wide = verdict.aspect.find("fp64") != std::string::npos;
    EXPECT_LE(verdict.limit, wide ? 1e-12 : 1e-5) << to_line(verdict);
  }
}

TEST_P(Bf16Growth, IsExactAtTheLimitsOfFullArithmetic) {
  auto pair = GetParam().mixture
                  ? grown(grow::Deepen(DeepenPlan{.add_layers = 1}))
                  : grown(grow::Upcycle(UpcyclePlan{.num_experts = 4}));
  ASSERT_EQ(pair.child.weight(0).scalar_type(), at::kBFloat16);
  const auto grown_once = pair.verdicts();
  EXPECT_EQ(tiny::first_failure(grown_once), nullptr)
      << tiny::lines(grown_once);
  expect_limits_of_exact_storage(grown_once);

  auto wide = grown(widen(2));
  const auto widened = wide.verdicts();
  EXPECT_EQ(tiny::first_failure(widened), nullptr) << tiny::lines(widened);
  expect_limits_of_exact_storage(widened);
}

// One entry of a noisy pair, moved by its last bit: 2^-8 of one weight.
TEST_P(Bf16Growth, OneBitOfANoisyPairIsSeen) {
  auto pair = grown(widen(2));
  at::Tensor weight = pair.weight(Part::kO, 1);
  at::Tensor entry = weight.flatten().narrow(0, 5, 1);
  const float value = entry.item<float>();
  // bf16's spacing at the value.
  entry.fill_(value + std::ldexp(1.0F, std::ilogb(value) - 7));
  ASSERT_NE(entry.item<float>(), value);
  const auto verdicts = pair.verdicts();
  const Verdict* failed = tiny::first_failure(verdicts, "tensor_audit");
  ASSERT_NE(failed, nullptr) << tiny::lines(verdicts);
  EXPECT_EQ(failed->tensor, pair.child.table()[pair.row(Part::kO, 1)].name);
}

// What the pairs are for: rounding both copies by themselves leaves 1e-3.
TEST_P(Bf16Growth, NoiseThatIsRoundedTwiceIsRefused) {
  auto pair = grown(widen(2));
  const grow::Recipe clean = grow::without_noise(pair.recipe);
  for (size_t row = 0; row < clean.tensors.size(); ++row) {
    const grow::TensorRecipe& tensor = pair.recipe.tensors[row];
    if (tensor.find<grow::Noise>() == nullptr) continue;
    at::Tensor weight = pair.child.weight(row);
    const int64_t half = weight.size(1) / 2;
    const at::Tensor w =
        pair.parent.weight(tensor.parent).to(at::kFloat) * tensor.scale;
    if (w.size(1) != half) continue;  // copies that alternate
    at::Tensor noise = at::empty(weight.sizes(), at::kFloat).narrow(1, 0, half);
    noise = noise.contiguous();
    kernels::fill_normal(noise, CounterRng(1, tensor.child), 0.3);
    const at::Tensor tiled = w.repeat({weight.size(0) / w.size(0), 1});
    weight.narrow(1, 0, half).copy_(tiled + noise * tiled);
    weight.narrow(1, half, half).copy_(tiled - noise * tiled);
  }
  const auto verdicts = pair.verdicts();
  EXPECT_NE(tiny::first_failure(verdicts, "functional_identity"), nullptr)
      << tiny::lines(verdicts);
}

// Stochastic rounding parts copies that carry no noise and get equal gradients:
// the share of the update cannot tell, its structure does.
TEST_P(Bf16Growth, RoundingAloneIsNoSymmetryBreaking) {
  auto pair = grown(widen(2));
  const auto after = [&](const Transformer& child) {
    tiny::Trainee trainee = tiny::trainee(tiny::clone(child));
    tiny::train(trainee, 0, kSteps, {});
    return symmetry_after_phase(
        pair.recipe, *pair.control,
        [&](const std::string& name) { return pair.parent.weight(name); },
        kSteps, trainee.model);
  };
  const auto noisy = after(pair.child);
  EXPECT_EQ(tiny::first_failure(noisy), nullptr) << tiny::lines(noisy);

  // The recipe that the check is given has no noise either: W_at_growth is what
  // the copies really were.
  pair.recipe = grow::without_noise(pair.recipe);
  const auto equal = after(grow::grow(tiny::clone(pair.parent), pair.recipe));
  ASSERT_EQ(equal.size(), 2U);
  EXPECT_FALSE(equal[1].passed) << tiny::lines(equal);
  // Above 0: the copies did part. Below 1.1: without structure.
  EXPECT_GT(equal[1].measured, 0.5) << tiny::lines(equal);
  EXPECT_LT(equal[1].measured, 1.1) << tiny::lines(equal);
}

INSTANTIATE_TEST_SUITE_P(
    Flavours, Bf16Growth,
    testing::Values(
        tiny::Flavour{.gated = false, .tied = true},
        tiny::Flavour{.gated = true, .tied = false, .num_key_value_heads = 2},
        tiny::Flavour{.mixture = true, .gated = false, .tied = false}),
    [](const auto& info) { return tiny::name_of(info.param); });

// The plan of phase 2 on: a parent that is widened right after it was upcycled,
// then deepened, all in bf16.
TEST(Bf16Chain, UpcycleWidenDeepen) {
  tiny::Flavour flavour;
  const Transformer dense = tiny::model(tiny::config(flavour), at::kBFloat16);
  const auto step = [](const Transformer& parent, const grow::Operator& op) {
    auto pair = tiny::grown_pair(parent, op.recipe(parent.config(), 3));
    const auto verdicts = pair.verdicts();
    EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
    return std::move(pair.child);
  };
  const Transformer mixture =
      step(dense, grow::Upcycle(UpcyclePlan{.num_experts = 4}));
  const Transformer wide = step(mixture, widen(2));
  const Transformer deep =
      step(wide, grow::Deepen(DeepenPlan{.add_layers = 2}));
  EXPECT_EQ(deep.config().num_hidden_layers, 5);
  EXPECT_EQ(deep.weight(0).scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace annuli::verify

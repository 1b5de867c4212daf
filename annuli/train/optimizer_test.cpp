#include "annuli/train/optimizer.h"

#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "annuli/kernels/quantize/block_quantization.h"
#include "annuli/optim/state_layout.h"
#include "tests/support/tensor_checks.h"

namespace annuli::train {
namespace {

using test::random_tensor;
using test::same_bits;

TensorSpec spec_of(const std::string& name, const std::vector<int64_t>& shape) {
  TensorSpec spec{.name = name, .part = Part::kUp};
  for (const int64_t size : shape) {
    spec.dimensions.push_back({Axis::kFfn, AxisRole::kProduced, size});
  }
  return spec;
}

const TensorSpec kMatrix = spec_of("matrix", {80, 60});  // 18.75 blocks
const TensorSpec kSmall = spec_of("small", {8, 6});
const TensorSpec kGain = spec_of("gain", {5000});

OptimizerPlan plan_of(OptimizerType type) {
  OptimizerPlan plan;
  plan.type = type;
  if (type == OptimizerType::kSgd) plan.momentum = 0.9;
  return plan;
}

std::vector<OptimizerPlan> all_plans() {
  std::vector<OptimizerPlan> plans;
  for (const auto type :
       {OptimizerType::kAdamw, OptimizerType::kAdamw8bit,
        OptimizerType::kAdafactor, OptimizerType::kSgd, OptimizerType::kMuon}) {
    plans.push_back(plan_of(type));
    if (type != OptimizerType::kAdamw8bit &&
        type != OptimizerType::kAdafactor) {
      plans.push_back(plan_of(type));
      plans.back().state_dtype = StateDtype::kBf16;
    }
  }
  plans.push_back({.type = OptimizerType::kSgd});
  return plans;
}

std::map<std::string, at::ScalarType> parts(const optim::TensorState& state) {
  std::map<std::string, at::ScalarType> defined;
  optim::visit_parts(state, [&](const char* name, const at::Tensor& part) {
    if (part.defined()) defined[name] = part.scalar_type();
  });
  return defined;
}

// A weight, its optimizer, and steps on gradients that follow from the step.
struct Trainee {
  Trainee(const OptimizerPlan& plan, const TensorSpec& spec,
          at::ScalarType dtype = at::kFloat)
      : spec(spec),
        weight(random_tensor(spec.shape(), spec.name, dtype)),
        optimizer(plan, 1) {}

  double step(int64_t t,
              UpdateSettings settings = {
                  .learning_rate = 1e-2, .weight_decay = 0.1, .seed = 5}) {
    const at::Tensor g = random_tensor(spec.shape(), fmt::format("g{}", t),
                                       weight.scalar_type());
    return optimizer.update(spec, 0, weight, g, settings);
  }
  const optim::TensorState& state() const { return optimizer.states()[0]; }

  TensorSpec spec;
  at::Tensor weight;
  Optimizer optimizer;
};

TEST(StateLayout, IsWhatEachOptimizerNeeds) {
  const auto of = [](const OptimizerPlan& plan, const TensorSpec& spec,
                     at::ScalarType dtype = at::kFloat) {
    Trainee trainee(plan, spec, dtype);
    trainee.step(1);
    return parts(trainee.state());
  };
  using Parts = std::map<std::string, at::ScalarType>;
  const OptimizerPlan coded = plan_of(OptimizerType::kAdamw8bit);
  EXPECT_EQ(of(coded, kMatrix), (Parts{{"m", at::kByte},
                                       {"m_scales", at::kFloat},
                                       {"v", at::kByte},
                                       {"v_scales", at::kFloat}}));
  const Parts numbers = {{"m", at::kFloat}, {"v", at::kFloat}};
  EXPECT_EQ(of(coded, kSmall), numbers);
  EXPECT_EQ(of(coded, kGain), numbers) << "no matrix";
  EXPECT_EQ(of({}, kMatrix), numbers);
  EXPECT_EQ(of({}, kMatrix, at::kBFloat16), numbers);
  EXPECT_EQ(of({}, kMatrix, at::kDouble),
            (Parts{{"m", at::kDouble}, {"v", at::kDouble}}));
  EXPECT_EQ(of({.state_dtype = StateDtype::kBf16}, kMatrix),
            (Parts{{"m", at::kBFloat16}, {"v", at::kBFloat16}}));
  EXPECT_EQ(of(coded, spec_of("least", {64, 64})).at("m"), at::kByte);
  EXPECT_EQ(of(coded, spec_of("less", {65, 63})), numbers);
  const OptimizerPlan adafactor = plan_of(OptimizerType::kAdafactor);
  EXPECT_EQ(of(adafactor, kMatrix),
            (Parts{{"v_columns", at::kFloat}, {"v_rows", at::kFloat}}));
  EXPECT_EQ(of(adafactor, kGain), (Parts{{"v", at::kFloat}}));
  EXPECT_EQ(of({.type = OptimizerType::kSgd}, kMatrix), Parts{});
  EXPECT_EQ(of(plan_of(OptimizerType::kSgd), kMatrix),
            (Parts{{"m", at::kFloat}}));
  const OptimizerPlan muon = plan_of(OptimizerType::kMuon);
  EXPECT_EQ(of(muon, kMatrix), (Parts{{"m", at::kFloat}}));
  EXPECT_EQ(of(muon, kMatrix, at::kDouble), (Parts{{"m", at::kDouble}}));
  EXPECT_EQ(of(muon, kGain), numbers);
  for (const Part part : {Part::kEmbedding, Part::kHead, Part::kRouter}) {
    TensorSpec spec = kMatrix;
    spec.part = part;
    EXPECT_EQ(of(muon, spec), numbers) << to_string(part);
  }
}

TEST(StateLayout, BytesAreThoseOfTheTensors) {
  for (const OptimizerPlan& plan : all_plans()) {
    for (const TensorSpec& spec : {kMatrix, kSmall, kGain}) {
      Trainee trainee(plan, spec);
      trainee.step(1);
      int64_t bytes = 0;
      optim::visit_parts(trainee.state(),
                         [&](const char*, const at::Tensor& part) {
                           if (part.defined()) {
                             bytes += static_cast<int64_t>(part.nbytes());
                           }
                         });
      EXPECT_EQ(optim::optimizer_state_bytes(plan, spec, Precision::kFp32),
                bytes);
    }
  }
  EXPECT_EQ(optim::optimizer_state_bytes({}, kMatrix, Precision::kFp64),
            2 * 8 * 80 * 60);
}

TEST(Optimizer, EveryOneDescends) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const OptimizerPlan& plan : all_plans()) {
      Trainee trainee(plan, kMatrix, dtype);
      const at::Tensor start = trainee.weight.clone();
      const at::Tensor g = random_tensor(kMatrix.shape(), "g", dtype);
      const double squares = trainee.optimizer.update(
          kMatrix, 0, trainee.weight, g, {.learning_rate = 1e-2});
      EXPECT_NEAR(squares, g.to(at::kDouble).square().sum().item<double>(),
                  1e-9 * squares);
      const at::Tensor moved =
          (start.to(at::kDouble) - trainee.weight.to(at::kDouble)) *
          g.to(at::kDouble);
      EXPECT_GT(moved.sum().item<double>(), 0);
      EXPECT_EQ(trainee.state().step, 1);
    }
  }
}

TEST(Optimizer, AMissingGradientIsZero) {
  for (const OptimizerPlan& plan : all_plans()) {
    Trainee given(plan, kMatrix), missing(plan, kMatrix);
    given.step(1);
    missing.step(1);
    const UpdateSettings settings{.learning_rate = 1e-2, .seed = 5};
    given.optimizer.update(kMatrix, 0, given.weight,
                           at::zeros_like(given.weight), settings);
    missing.optimizer.update(kMatrix, 0, missing.weight, {}, settings);
    EXPECT_TRUE(same_bits(given.weight, missing.weight));
  }
}

TEST(Optimizer, WeightDecayActsOnMatricesAlone) {
  for (const OptimizerPlan& plan : all_plans()) {
    for (const TensorSpec& spec : {kMatrix, kGain}) {
      Trainee trainee(plan, spec);
      const at::Tensor start = trainee.weight.clone();
      trainee.optimizer.update(spec, 0, trainee.weight, {},
                               {.learning_rate = 0.5, .weight_decay = 0.5});
      const double left = (trainee.weight.norm() / start.norm()).item<double>();
      EXPECT_NEAR(left, spec.is_matrix() ? 0.75 : 1, 1e-6);
    }
  }
}

// What a group says, and nothing of other parts.
TEST(Optimizer, GroupsHaveRatesAndDecayOfTheirOwn) {
  TensorSpec head = kMatrix;
  head.part = Part::kHead;
  TensorSpec gain = kGain;
  gain.part = Part::kInputNorm;
  const UpdateSettings given{.learning_rate = 1e-2, .weight_decay = 0.1};
  const auto after = [](const OptimizerPlan& plan, const TensorSpec& spec,
                        const UpdateSettings& settings) {
    Trainee trainee(plan, spec);
    trainee.step(1, settings);
    return trainee.weight;
  };
  for (const OptimizerPlan& plain : all_plans()) {
    OptimizerPlan grouped = plain;
    grouped.groups = {
        {.parts = {TensorPart::kHead, TensorPart::kGains}, .lr_factor = 0.5},
        {.parts = {TensorPart::kRouter}, .weight_decay = 0.3}};
    UpdateSettings half = given;
    half.learning_rate = 5e-3;
    for (const TensorSpec& spec : {head, gain}) {
      EXPECT_TRUE(
          same_bits(after(grouped, spec, given), after(plain, spec, half)));
      EXPECT_FALSE(
          same_bits(after(grouped, spec, given), after(plain, spec, given)));
    }
    EXPECT_TRUE(same_bits(after(grouped, kMatrix, given),
                          after(plain, kMatrix, given)));
    UpdateSettings more = given;
    more.weight_decay = 0.3;
    TensorSpec router = kMatrix;
    router.part = Part::kRouter;
    EXPECT_TRUE(
        same_bits(after(grouped, router, given), after(plain, router, more)));
    EXPECT_FALSE(
        same_bits(after(grouped, router, given), after(plain, router, given)));
  }
}

// Gains have no decay, but a group may give them one.
TEST(Optimizer, AGroupsDecayActsOnGainsToo) {
  TensorSpec gain = kGain;
  gain.part = Part::kInputNorm;
  OptimizerPlan plan;
  plan.groups = {{.parts = {TensorPart::kGains}, .weight_decay = 0.5}};
  Trainee trainee(plan, gain);
  const at::Tensor start = trainee.weight.clone();
  trainee.optimizer.update(gain, 0, trainee.weight, {}, {.learning_rate = 0.5});
  EXPECT_NEAR((trainee.weight.norm() / start.norm()).item<double>(), 0.75,
              1e-6);
}

// A matrix W that growth has laid 3 times below and 2 times beside itself, as
// W / 2, moves by half of what W moves, also where its gradient is below the
// least norm that is divided by.
TEST(Optimizer, MuonMovesATileAsWhatItRepeats) {
  for (const MuonScale scale : {MuonScale::kKeller, MuonScale::kMoonlight}) {
    for (const double size : {1.0, 1e-9}) {
      OptimizerPlan plan = plan_of(OptimizerType::kMuon);
      plan.muon_scale = scale;
      const TensorSpec tile = spec_of("tile", {24, 12});
      Trainee parent(plan, kSmall, at::kDouble);
      Trainee child(plan, tile, at::kDouble);
      child.weight = parent.weight.repeat({3, 2}) / 2;
      child.optimizer = Optimizer(
          plan, std::vector{optim::TensorState{.lr_multiplier = 1.0 / 2,
                                               .eps_multiplier = 1.0 / 3,
                                               .weight_decay_multiplier = 2,
                                               .row_copies = 3,
                                               .column_copies = 2}});
      const at::Tensor start = parent.weight.clone();
      const at::Tensor g = random_tensor({8, 6}, "g") * size;
      const UpdateSettings settings{.learning_rate = 0.1, .weight_decay = 0.1};
      parent.optimizer.update(kSmall, 0, parent.weight, g, settings);
      child.optimizer.update(tile, 0, child.weight, g.repeat({3, 2}) / 3,
                             settings);
      EXPECT_LE(
          test::relative_error(child.weight * 2, parent.weight.repeat({3, 2})),
          1e-11);
      EXPECT_GT(test::relative_error(start - start * 0.01, parent.weight),
                1e-3);
    }
  }
}

// How bf16 weights fall depends on seed, name and step, and on nothing else.
TEST(Optimizer, RoundingFollowsSeedNameAndStep) {
  const auto after = [](uint64_t seed, const std::string& name) {
    Trainee trainee({}, kMatrix, at::kBFloat16);
    trainee.spec.name = name;
    for (int64_t t = 1; t <= 2; ++t) {
      trainee.step(t, {.learning_rate = 1e-3, .seed = seed});
    }
    return trainee.weight;
  };
  EXPECT_TRUE(same_bits(after(1, "a"), after(1, "a")));
  EXPECT_FALSE(same_bits(after(1, "a"), after(2, "a")));
  EXPECT_FALSE(same_bits(after(1, "a"), after(1, "b")));
}

// A state that is saved and loaded, part by part, goes on bit for bit.
TEST(Optimizer, GoesOnFromItsState) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const OptimizerPlan& plan : all_plans()) {
      Trainee whole(plan, kMatrix, dtype), first(plan, kMatrix, dtype);
      for (int64_t t = 1; t <= 4; ++t) whole.step(t);
      for (int64_t t = 1; t <= 2; ++t) first.step(t);
      optim::TensorState saved = first.state();
      optim::visit_parts(saved, [](const char*, at::Tensor& part) {
        if (part.defined()) part = part.clone();
      });
      Trainee second(plan, kMatrix, dtype);
      second.weight = first.weight.clone();
      second.optimizer = Optimizer(plan, std::vector{saved});
      for (int64_t t = 3; t <= 4; ++t) second.step(t);
      EXPECT_TRUE(same_bits(second.weight, whole.weight));
    }
  }
}

TEST(Optimizer, TakesMomentsInAnotherForm) {
  Trainee numbers({}, kMatrix);
  numbers.step(1);
  Trainee coded(plan_of(OptimizerType::kAdamw8bit), kMatrix);
  optim::TensorState state = numbers.state();
  const auto expected = kernels::quantize(state.v, kernels::Codes::kUnsigned);
  optim::adopt(state,
               optim::state_layout(coded.optimizer.plan(), kMatrix, at::kFloat),
               at::kCPU);
  EXPECT_TRUE(same_bits(state.v, expected.codes));
  EXPECT_TRUE(same_bits(state.v_scales, expected.scales));
  optim::adopt(state, optim::state_layout({}, kMatrix, at::kFloat), at::kCPU);
  EXPECT_FALSE(state.v_scales.defined());
  EXPECT_TRUE(
      same_bits(state.v, kernels::dequantize(expected.codes, expected.scales,
                                             kernels::Codes::kUnsigned)));
  EXPECT_EQ(state.step, 1);
}

// Who goes on with another optimizer keeps what it can use and nothing else.
TEST(Optimizer, DropsThePartsOfAnother) {
  for (const OptimizerPlan& before : all_plans()) {
    for (const OptimizerPlan& after : all_plans()) {
      Trainee trained(before, kMatrix);
      trained.step(1);
      optim::TensorState state = trained.state();
      adopt(state, optim::state_layout(after, kMatrix, at::kFloat), at::kCPU);
      Trainee fresh(after, kMatrix);
      fresh.step(1);
      EXPECT_EQ(parts(state), parts(fresh.state()));
    }
  }
}

TEST(Optimizer, AMomentInTheRightFormIsTheSameTensor) {
  Trainee trained({}, kMatrix);
  trained.step(1);
  optim::TensorState state = trained.state();
  const at::Tensor m = state.m;
  adopt(state, optim::state_layout({}, kMatrix, at::kFloat), at::kCPU);
  EXPECT_TRUE(state.m.is_same(m));
  // And in another it is converted: bf16 keeps 8 bits of each number.
  adopt(state,
        optim::state_layout({.state_dtype = StateDtype::kBf16}, kMatrix,
                            at::kFloat),
        at::kCPU);
  EXPECT_TRUE(same_bits(state.m, m.to(at::kBFloat16)));
}

}  // namespace
}  // namespace annuli::train

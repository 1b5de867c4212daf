#include "annuli/verify/router_health.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <limits>

#include "annuli/grow/upcycle.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

constexpr int64_t kLayers = 3;

// A model with 8 experts, 2 per token: the fullest can hold 4 x the mean.
class RouterHealth : public ::testing::Test {
 protected:
  RouterHealth() : model_(tiny::model(config(), at::kFloat)) {
    // Activations with a large mean, as trained models have, and routers that
    // do not read it, as upcycling draws them.
    model_.weight(0).add_(1);
    for (int64_t layer = 0; layer < kLayers; ++layer) center(layer);
  }

  static ModelConfig config() {
    ModelConfig config = tiny::config({.mixture = true, .gated = true});
    config.num_experts = 8;
    return config;
  }
  at::Tensor mean_input(int64_t layer) const {
    Trace trace;
    model_.hidden_states(probe_.router_tokens, {.trace = &trace});
    return trace.layers[layer].ffn_input.mean(0);
  }
  void center(int64_t layer) {
    const at::Tensor mean = mean_input(layer);
    const at::Tensor unit = mean / mean.norm();
    router(layer).sub_(router(layer).mv(unit).outer(unit));
  }
  at::Tensor router(int64_t layer) {
    return model_.weight(find_row(model_.table(), Part::kRouter, layer));
  }
  const std::string& router_name(int64_t layer) const {
    return model_.table()[find_row(model_.table(), Part::kRouter, layer)].name;
  }
  at::Tensor expert(Part part, int64_t layer, int64_t e) {
    return model_.weight(find_row(model_.table(), part, layer, e));
  }
  std::vector<Verdict> load() { return router_load(model_, probe_); }
  std::vector<Verdict> health(const std::vector<std::vector<double>>& grads) {
    return router_health(model_, probe_, grads);
  }

  // [step][layer]; the first step's are zero while experts are equal.
  std::vector<std::vector<double>> gradients_ = {
      {0, 0, 0}, {1e-3, 1e-3, 1e-3}, {1e-3, 1e-3, 1e-3}};
  Probe probe_ = tiny::probe(config());
  Transformer model_;
};

TEST_F(RouterHealth, AHealthyMixturePasses) {
  const auto verdicts = health(gradients_);
  ASSERT_EQ(verdicts.size(), 4U);
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
}

// The router prefers experts 0 and 1 whatever the token: it reads the mean.
TEST_F(RouterHealth, ACollapsedRouterFails) {
  const at::Tensor mean = mean_input(1);
  router(1).narrow(0, 0, 2).add_(mean, 100);
  router(1).narrow(0, 2, 6).sub_(mean, 100);
  const auto verdicts = load();
  EXPECT_FALSE(verdicts[0].passed) << tiny::lines(verdicts);
  EXPECT_EQ(verdicts[0].layer, 1);
  EXPECT_EQ(verdicts[0].tensor, router_name(1));
  EXPECT_FALSE(verdicts[1].passed) << tiny::lines(verdicts);
  EXPECT_EQ(verdicts[1].layer, 1);
  EXPECT_EQ(verdicts[1].tensor, router_name(1));
}

// One expert that no token chooses is enough, though the load is near even.
TEST_F(RouterHealth, OneDeadExpertFails) {
  router(2).select(0, 5).copy_(mean_input(2) * -100);
  const auto verdicts = load();
  EXPECT_FALSE(verdicts[0].passed) << tiny::lines(verdicts);
  EXPECT_EQ(verdicts[0].measured, 1);
  EXPECT_EQ(verdicts[0].layer, 2);
  EXPECT_EQ(verdicts[0].tensor, router_name(2));
  EXPECT_TRUE(verdicts[1].passed) << tiny::lines(verdicts);
}

TEST_F(RouterHealth, EqualExpertsFail) {
  for (const Part part : {Part::kGate, Part::kUp, Part::kDown}) {
    expert(part, 2, 5).copy_(expert(part, 2, 3));
  }
  const auto verdicts = health(gradients_);
  EXPECT_TRUE(verdicts[0].passed);
  EXPECT_FALSE(verdicts[2].passed);
  EXPECT_EQ(verdicts[2].measured, 0);
  EXPECT_EQ(verdicts[2].layer, 2);
  EXPECT_NE(verdicts[2].note.find("experts 3 and 5"), std::string::npos);
}

TEST_F(RouterHealth, ExpertsThatDifferInOneMatrixAreDistinct) {
  for (const Part part : {Part::kGate, Part::kUp}) {
    expert(part, 2, 5).copy_(expert(part, 2, 3));
  }
  EXPECT_EQ(tiny::first_failure(health(gradients_)), nullptr);
}

TEST_F(RouterHealth, AnExpertThatIsNotANumberFails) {
  expert(Part::kUp, 1, 4)
      .view(-1)[0]
      .fill_(std::numeric_limits<double>::quiet_NaN());
  const auto verdicts = health(gradients_);
  EXPECT_FALSE(verdicts[2].passed) << tiny::lines(verdicts);
}

TEST_F(RouterHealth, AGradientOfZeroFromTheSecondStepOnFails) {
  gradients_[2][1] = 0;
  const auto verdicts = health(gradients_);
  EXPECT_FALSE(verdicts[3].passed);
  EXPECT_EQ(verdicts[3].layer, 1);
  EXPECT_EQ(verdicts[3].tensor, router_name(1));
}

// There is no second step, and so nothing to say.
TEST_F(RouterHealth, OneStepGivesNoVerdictOnGradients) {
  EXPECT_EQ(health({{0, 0, 0}}).size(), 3U);
}

TEST_F(RouterHealth, AGradientThatIsNotANumberFails) {
  gradients_[1][2] = std::numeric_limits<double>::quiet_NaN();
  const auto verdicts = health(gradients_);
  EXPECT_FALSE(verdicts[3].passed) << tiny::lines(verdicts);
  EXPECT_EQ(verdicts[3].layer, 2);
}

TEST(RouterHealthAtGrowth, ARandomRouterPasses) {
  auto pair = tiny::grown_pair({}, grow::Upcycle(UpcyclePlan{}));
  EXPECT_EQ(tiny::first_failure(pair.verdicts()), nullptr)
      << tiny::lines(pair.verdicts());
}

// Ties of a zero router fall at random, so at first every expert has slots; but
// the experts get equal gradients on average and the router none: after the
// phase its gradient gives it away.
TEST(RouterHealthAtGrowth, AZeroRouterFailsAfterThePhase) {
  auto pair = tiny::grown_pair(
      {}, grow::Upcycle(UpcyclePlan{.router = RouterInit::kZero}));
  const auto verdicts =
      router_health(pair.child, pair.probe, {{0, 0, 0}, {0, 0, 0}});
  EXPECT_FALSE(verdicts[2].passed);
  EXPECT_FALSE(verdicts[3].passed);
}

}  // namespace
}  // namespace annuli::verify

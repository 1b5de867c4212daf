#include "annuli/verify/router_health.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "annuli/grow/upcycle.h"
#include "annuli/verify/router_gradient.h"
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
  std::vector<Verdict> health() { return router_health(model_, probe_); }
  // The same tensors, with other gates.
  Transformer with_gates(int64_t k, bool renormalised) {
    ModelConfig config = model_.config();
    config.num_experts_per_tok = k;
    config.norm_topk_prob = renormalised;
    return tiny::with_config(model_, config);
  }

  Probe probe_ = tiny::probe(config());
  Transformer model_;
};

TEST_F(RouterHealth, AHealthyMixturePasses) {
  const auto verdicts = health();
  ASSERT_EQ(verdicts.size(), 5U);
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
  const auto verdicts = health();
  EXPECT_TRUE(verdicts[1].passed);
  EXPECT_FALSE(verdicts[3].passed);
  EXPECT_EQ(verdicts[3].measured, 0);
  EXPECT_EQ(verdicts[3].layer, 2);
  EXPECT_NE(verdicts[3].note.find("experts 3 and 5"), std::string::npos);
}

TEST_F(RouterHealth, ExpertsThatDifferInOneMatrixAreDistinct) {
  for (const Part part : {Part::kGate, Part::kUp}) {
    expert(part, 2, 5).copy_(expert(part, 2, 3));
  }
  EXPECT_EQ(tiny::first_failure(health()), nullptr);
}

TEST_F(RouterHealth, AnExpertThatIsNotANumberFails) {
  expert(Part::kUp, 1, 4)
      .view(-1)[0]
      .fill_(std::numeric_limits<double>::quiet_NaN());
  const auto verdicts = health();
  EXPECT_FALSE(verdicts[3].passed) << tiny::lines(verdicts);
}

// The norm of the routers' gradient of a training step's whole loss.
double whole_gradient(Transformer& model, const Probe& probe, double aux) {
  double squares = 0;
  const auto gradients = tiny::gradients(
      model, probe.tokens[0], probe.targets[0], {.router_aux_loss_coef = aux});
  for (size_t row = 0; row < gradients.size(); ++row) {
    if (model.table()[row].part != Part::kRouter) continue;
    squares += gradients[row].square().sum().item<double>();
  }
  return std::sqrt(squares);
}

// The default balance loss moves such a router all the same.
TEST_F(RouterHealth, TopOneOfRenormalisedGatesFails) {
  Transformer top1 = with_gates(1, true);
  EXPECT_EQ(whole_gradient(top1, probe_, 0), 0);
  EXPECT_GT(whole_gradient(top1, probe_, 0.01), 0);
  const Verdict gates = router_gates(top1.config());
  EXPECT_FALSE(gates.passed);
  EXPECT_EQ(gates.measured, kLayers);
  EXPECT_NE(gates.note.find("no gradient"), std::string::npos);
  const Verdict gradient = router_gradient(top1, probe_);
  EXPECT_FALSE(gradient.passed);
  EXPECT_EQ(gradient.measured, 0);
  EXPECT_EQ(gradient.layer, 0);
  EXPECT_EQ(gradient.tensor, router_name(0));
}

TEST_F(RouterHealth, TopOneOfRawGatesAndTopTwoPass) {
  for (const auto& [k, renormalised] :
       {std::pair{1, false}, {2, true}, {2, false}, {8, true}}) {
    const Transformer model = with_gates(k, renormalised);
    EXPECT_TRUE(router_gates(model.config()).passed) << k;
    const Verdict gradient = router_gradient(model, probe_);
    EXPECT_TRUE(gradient.passed) << k << to_line(gradient);
    EXPECT_GT(gradient.measured, 1e-3) << k;
  }
}

// What rounding leaves of differences that are 0 is no gradient.
TEST_F(RouterHealth, EqualExpertsGiveTheRouterNothing) {
  for (int64_t e = 1; e < 8; ++e) {
    for (const Part part : {Part::kGate, Part::kUp, Part::kDown}) {
      expert(part, 1, e).copy_(expert(part, 1, 0));
    }
  }
  const Verdict gradient = router_gradient(model_, probe_);
  EXPECT_FALSE(gradient.passed) << to_line(gradient);
  EXPECT_EQ(gradient.layer, 1);
}

// One gate is 1, the others are 0: as constant as those of top-1.
TEST_F(RouterHealth, ARouterThatIsSureOfEverythingFails) {
  router(2).mul_(1e4);
  const Verdict gradient = router_gradient(model_, probe_);
  EXPECT_FALSE(gradient.passed) << to_line(gradient);
  EXPECT_EQ(gradient.layer, 2);
}

TEST_F(RouterHealth, AGradientThatIsNotANumberFails) {
  router(2).view(-1)[0].fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_FALSE(router_gradient(model_, probe_).passed);
}

TEST_F(RouterHealth, TheGradientLeavesTheModelAsItWas) {
  router_gradient(model_, probe_);
  for (size_t row = 0; row < model_.table().size(); ++row) {
    EXPECT_FALSE(model_.weight(row).requires_grad());
    EXPECT_FALSE(model_.weight(row).grad().defined());
  }
}

// Every expert with a tenth of the mean load, each token for itself: the chance
// that any of them has no slot.
TEST(RouterTokens, ASoundRouterIsRefusedOnceInAThousand) {
  for (const auto& [experts, chosen, layers] :
       {std::array<int64_t, 3>{8, 2, 12},
        {8, 2, 30},
        {64, 8, 48},
        {128, 1, 24}}) {
    ModelConfig config = tiny::config({.mixture = true});
    config.num_experts = experts;
    config.num_experts_per_tok = chosen;
    config.num_hidden_layers = layers;
    const double share =
        0.1 * static_cast<double>(chosen) / static_cast<double>(experts);
    const auto refused = [&](int64_t tokens) {
      return static_cast<double>(experts * layers) *
             std::pow(1 - share, static_cast<double>(tokens));
    };
    const int64_t needed = router_tokens_needed(config);
    EXPECT_LE(refused(needed), 1e-3);
    EXPECT_GT(refused(needed * 9 / 10), 1e-3);
  }
  EXPECT_EQ(router_tokens_needed(tiny::config({})), 0);
}

// Random ids tell nothing, nor do tokens that are fewer than a mean expert
// needs to be seen: what fails on them is said, and stops nothing.
TEST_F(RouterHealth, WhatCannotBeJudgedIsAWarning) {
  router(2).select(0, 5).copy_(mean_input(2) * -100);
  ASSERT_TRUE(load()[0].stops());
  const at::Tensor all = probe_.router_tokens;
  probe_.router_tokens = all.narrow(0, 0, 1).narrow(1, 0, 8);
  Verdict verdict = load()[0];
  EXPECT_FALSE(verdict.passed);
  EXPECT_FALSE(verdict.stops());
  EXPECT_NE(verdict.note.find("too few"), std::string::npos);
  probe_.router_tokens = all;
  probe_.is_text = false;
  verdict = load()[0];
  EXPECT_FALSE(verdict.passed);
  EXPECT_FALSE(verdict.stops());
  EXPECT_EQ(to_line(verdict).substr(0, 7), "warning");
  EXPECT_NE(verdict.note.find("--text"), std::string::npos);
}

// Copies of an expert that are always chosen together.
TEST_F(RouterHealth, CopiedExpertsThatDoNotPartAreAWarning) {
  EXPECT_TRUE(copied_experts(model_).passed);
  for (const Part part : {Part::kGate, Part::kUp, Part::kDown}) {
    expert(part, 2, 5).copy_(expert(part, 2, 3));
  }
  const Verdict verdict = copied_experts(model_);
  EXPECT_FALSE(verdict.passed);
  EXPECT_FALSE(verdict.stops());
  EXPECT_EQ(verdict.layer, 2);
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
  const auto verdicts = router_health(pair.child, pair.probe);
  EXPECT_FALSE(verdicts[3].passed);
  EXPECT_FALSE(verdicts[4].passed);
}

}  // namespace
}  // namespace annuli::verify

#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/kernels/mixture.h"
#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

class RouteTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(RouteTypes, WithoutTiesIsPlainTopK) {
  at::Tensor logits = random_tensor({300, 8}, "logits", GetParam());
  const Routing routing = route(logits, 3, 1);
  at::Tensor probabilities = at::softmax(logits, -1);
  auto [top, experts] = at::topk(probabilities, 3, -1);
  EXPECT_TRUE(test::same_bits(routing.experts, experts));
  EXPECT_TRUE(test::same_bits(routing.probabilities, probabilities));
  EXPECT_TRUE(test::same_bits(routing.gates, top / top.sum(1, true)));
  EXPECT_TRUE(test::same_bits(routing.experts, route(logits, 3, 2).experts));
}

// Chosen by p + b, gated by p alone.
TEST_P(RouteTypes, ASelectionBiasChoosesAndLeavesTheGates) {
  const at::Tensor logits = random_tensor({300, 8}, "logits", GetParam());
  const at::Tensor bias = 0.2 * random_tensor({8}, "bias", at::kFloat);
  const Routing routing = route(logits, 3, 1, bias);
  const at::Tensor probabilities = at::softmax(logits, -1);
  const at::Tensor scores = probabilities + bias.to(GetParam());
  const at::Tensor experts = std::get<1>(at::topk(scores, 3, -1));
  const at::Tensor top = probabilities.gather(1, experts);
  EXPECT_TRUE(test::same_bits(routing.experts, experts));
  EXPECT_TRUE(test::same_bits(routing.probabilities, probabilities));
  EXPECT_TRUE(test::same_bits(routing.gates, top / top.sum(1, true)));
  // It matters here, and where it is zero it does not.
  EXPECT_FALSE(test::same_bits(routing.experts, route(logits, 3, 1).experts));
  EXPECT_TRUE(test::same_bits(route(logits, 3, 1, at::zeros({8})).experts,
                              route(logits, 3, 1).experts));
}

INSTANTIATE_TEST_SUITE_P(Types, RouteTypes,
                         testing::Values(at::kFloat, at::kDouble));

TEST(Route, GatesTimesTheChosenProbabilityAreTheProbabilities) {
  const Routing routing = route(random_tensor({9, 5}, "logits"), 2, 1);
  const at::Tensor expected = routing.probabilities.gather(1, routing.experts);
  EXPECT_LE(
      relative_error(routing.gates * routing.chosen_probability, expected),
      4 * 0x1p-52);
  EXPECT_GT(relative_error(routing.gates, expected), 1e-2);
}

TEST(Route, ZeroRouterGivesEveryTokenARandomPair) {
  constexpr int64_t N = 4000;
  const Routing routing = route(at::zeros({N, 8}), 2, 5);
  const std::vector<int64_t> load = expert_load(routing.experts, 8);
  // 2N slots over 8 experts: mean 1000, deviation below sqrt(1000); 5 of them.
  for (int64_t slots : load) EXPECT_NEAR(slots, 1000, 5 * std::sqrt(1000.0));
  at::Tensor same =
      routing.experts.select(1, 0).eq(routing.experts.select(1, 1));
  EXPECT_FALSE(same.any().item<bool>());
  EXPECT_TRUE(routing.gates.eq(0.5).all().item<bool>());
  EXPECT_TRUE(
      test::same_bits(routing.experts, route(at::zeros({N, 8}), 2, 5).experts));
  EXPECT_FALSE(
      test::same_bits(routing.experts, route(at::zeros({N, 8}), 2, 6).experts));
}

TEST(Route, ATieBelowTheTopLeavesTheTop) {
  at::Tensor logits = at::zeros({200, 4});
  logits.select(1, 2).fill_(1);
  const Routing routing = route(logits, 2, 9);
  EXPECT_TRUE(routing.experts.select(1, 0).eq(2).all().item<bool>());
  const std::vector<int64_t> load = expert_load(routing.experts, 4);
  for (int64_t e : {0, 1, 3}) EXPECT_GT(load[e], 30);
}

TEST(Route, AllExpertsChosenOnce) {
  const Routing routing = route(random_tensor({1, 4}, "logits"), 4, 0);
  EXPECT_EQ(expert_load(routing.experts, 4), (std::vector<int64_t>(4, 1)));
  EXPECT_NEAR(routing.gates.sum().item<double>(), 1, 4 * 0x1p-53);
}

TEST(Route, GatesAreDifferentiable) {
  std::vector<at::Tensor> in{random_tensor({5, 4}, "logits")};
  auto gates = [](const auto& x) { return route(x[0], 2, 0).gates; };
  EXPECT_LE(test::finite_difference_error(gates, in),
            test::kFiniteDifferenceTolerance);
}

TEST(Route, GatesAreDifferentiableBesideASelectionBias) {
  std::vector<at::Tensor> in{random_tensor({5, 4}, "logits")};
  const at::Tensor bias = 0.3 * random_tensor({4}, "bias");
  auto gates = [&](const auto& x) { return route(x[0], 2, 0, bias).gates; };
  EXPECT_LE(test::finite_difference_error(gates, in),
            test::kFiniteDifferenceTolerance);
  in[0].set_requires_grad(true);
  EXPECT_FALSE(selection_scores(at::softmax(in[0], -1), bias).requires_grad());
}

TEST(LoadBalancingLoss, UniformRoutingGivesK) {
  const Routing uniform = route(at::zeros({64, 4}), 4, 0);
  EXPECT_FLOAT_EQ(load_balancing_loss({uniform}, 4).item<float>(), 4);
}

// transformers' formula written out: all layers' tokens joined, one-hot means
// per rank times mean probability, summed, times E.
TEST(LoadBalancingLoss, JoinsTheLayersAsTransformersDoes) {
  constexpr int64_t N = 20, E = 5, k = 2;
  const Routing a = route(random_tensor({N, E}, "a"), k, 0);
  const Routing b = route(3 * random_tensor({N, E}, "b"), k, 0);
  double expected = 0;
  for (int64_t rank = 0; rank < k; ++rank) {
    for (int64_t e = 0; e < E; ++e) {
      double chosen = 0, probability = 0;
      for (const Routing* layer : {&a, &b}) {
        for (int64_t n = 0; n < N; ++n) {
          chosen += layer->experts[n][rank].item<int64_t>() == e;
          probability += layer->probabilities[n][e].item<double>();
        }
      }
      expected += E * chosen / (2 * N) * probability / (2 * N);
    }
  }
  const double joined = load_balancing_loss({a, b}, E).item<double>();
  EXPECT_NEAR(joined, expected, 1e-13);
  const double mean = (load_balancing_loss({a}, E).item<double>() +
                       load_balancing_loss({b}, E).item<double>()) /
                      2;
  EXPECT_GT(std::abs(joined - mean), 1e-6);
}

TEST(LoadBalancingLoss, IsDifferentiable) {
  std::vector<at::Tensor> in{random_tensor({6, 3}, "a"),
                             random_tensor({6, 3}, "b")};
  auto loss = [](const auto& x) {
    return load_balancing_loss({route(x[0], 1, 0), route(x[1], 1, 0)}, 3);
  };
  EXPECT_LE(test::finite_difference_error(loss, in),
            test::kFiniteDifferenceTolerance);
}

TEST(RouterZLoss, IsTheMeanSquaredLogSumExp) {
  at::Tensor logits = at::tensor({0.0, 0.0, 1.0, 1.0}, at::kDouble);
  const double z = router_z_loss(logits.view({2, 2})).item<double>();
  const double log2 = std::log(2.0);
  EXPECT_NEAR(z, (log2 * log2 + (1 + log2) * (1 + log2)) / 2, 1e-15);
}

}  // namespace
}  // namespace annuli::kernels

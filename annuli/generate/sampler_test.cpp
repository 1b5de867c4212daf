#include "annuli/generate/sampler.h"

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor row(const std::vector<double>& values) {
  at::Tensor logits =
      at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), logits.mutable_data_ptr<double>());
  return logits;
}

// How often each token is drawn in n draws.
std::vector<int> histogram(const at::Tensor& logits,
                           const SamplerOptions& options, int n) {
  std::vector<int> counts(logits.numel());
  for (int i = 0; i < n; ++i) ++counts[sample_token(logits, options, i)];
  return counts;
}

// Pearson's chi-square against the probabilities p.
double chi_square(const std::vector<int>& counts, const std::vector<double>& p,
                  int n) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double expected = n * p[i];
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

TEST(Sampler, GreedyTakesTheGreatestAndTheLowestOfEquals) {
  EXPECT_EQ(greedy_token(row({0.5, -1, 3, 2})), 2);
  EXPECT_EQ(greedy_token(row({1, 7, 7, 7})), 1);
  EXPECT_EQ(greedy_token(row({-kInfinity, -5, -kInfinity})), 1);
  EXPECT_EQ(sample_token(row({0.5, -1, 3, 2}), {}, 9), 2);
  EXPECT_EQ(greedy_token(row({0.5, -1, 3, 2}).to(at::kFloat)), 2);
}

TEST(Sampler, IsAPureFunctionOfSeedAndPosition) {
  const at::Tensor logits = row(std::vector<double>(1000, 0.0));
  const SamplerOptions one{.temperature = 1, .seed = 1};
  const SamplerOptions two{.temperature = 1, .seed = 2};
  EXPECT_EQ(sample_token(logits, one, 5), sample_token(logits, one, 5));
  EXPECT_NE(sample_token(logits, one, 5), sample_token(logits, one, 6));
  EXPECT_NE(sample_token(logits, one, 5), sample_token(logits, two, 5));
}

// Chi-square with 3 degrees of freedom exceeds 16.3 once in a thousand times;
// the seed is fixed. The control, drawing at another temperature, must exceed.
TEST(Sampler, DrawsFromTheSoftmax) {
  const int n = 20000;
  const std::vector<double> p = {0.5, 0.25, 0.15, 0.1};
  std::vector<double> logits;
  for (const double value : p) logits.push_back(std::log(value) + 3);
  const SamplerOptions plain{.temperature = 1, .seed = 11};
  EXPECT_LT(chi_square(histogram(row(logits), plain, n), p, n), 16.3);
  const SamplerOptions hotter{.temperature = 1.1, .seed = 11};
  EXPECT_GT(chi_square(histogram(row(logits), hotter, n), p, n), 16.3);
}

TEST(Sampler, TemperatureDividesTheLogits) {
  const int n = 20000;
  const double total = std::exp(0.5) + 1 + std::exp(-0.5) + std::exp(-1.0);
  const std::vector<double> p = {std::exp(0.5) / total, 1 / total,
                                 std::exp(-0.5) / total, std::exp(-1) / total};
  const SamplerOptions options{.temperature = 2, .seed = 3};
  EXPECT_LT(chi_square(histogram(row({1, 0, -1, -2}), options, n), p, n), 16.3);
}

TEST(Sampler, TopKKeepsTheGreatest) {
  const at::Tensor logits = row({0.1, 0.3, 0.2, 0.0});
  SamplerOptions options{.temperature = 1, .top_k = 2, .seed = 4};
  const auto two = histogram(logits, options, 400);
  EXPECT_EQ(two[0] + two[3], 0);
  EXPECT_GT(two[1], 100);
  EXPECT_GT(two[2], 100);
  options.top_k = 1;
  EXPECT_EQ(histogram(logits, options, 50)[1], 50);
  for (const int64_t all : {0, 4, 100}) {
    options.top_k = all;
    EXPECT_THAT(histogram(logits, options, 400), testing::Each(testing::Gt(40)))
        << all;
  }
}

TEST(Sampler, TopKOfEqualsKeepsTheLowestIds) {
  const SamplerOptions options{.temperature = 1, .top_k = 2, .seed = 4};
  const auto counts = histogram(row({1, 1, 1, 1}), options, 200);
  EXPECT_EQ(counts[2] + counts[3], 0);
  EXPECT_GT(counts[0], 50);
  EXPECT_GT(counts[1], 50);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const std::vector<double> logits = {std::log(0.15), std::log(0.5),
                                      std::log(0.1), std::log(0.25)};
  SamplerOptions options{.temperature = 1, .top_p = 0.7, .seed = 5};
  const auto counts = histogram(row(logits), options, 600);
  EXPECT_EQ(counts[0] + counts[2], 0);
  // Renormalised: 2/3 and 1/3; five standard errors of a proportion.
  EXPECT_NEAR(counts[1] / 600.0, 2.0 / 3, 5 * std::sqrt(2.0 / 9 / 600));
  options.top_p = 0.8;
  EXPECT_GT(histogram(row(logits), options, 600)[0], 0);
  EXPECT_EQ(histogram(row(logits), options, 600)[2], 0);
  options.top_p = 1e-9;
  EXPECT_EQ(histogram(row(logits), options, 50)[1], 50);
}

// top_p counts the probabilities that top_k has left: of 0.5 and 0.25 the
// first alone holds 2/3.
TEST(Sampler, TopPFollowsTopK) {
  const at::Tensor logits =
      row({std::log(0.5), std::log(0.25), std::log(0.15), std::log(0.1)});
  SamplerOptions options{.temperature = 1, .top_k = 2, .top_p = 0.6, .seed = 5};
  EXPECT_EQ(histogram(logits, options, 100)[0], 100);
  options.top_k = 0;
  EXPECT_LT(histogram(logits, options, 100)[0], 100);
}

TEST(Sampler, NeverDrawsMinusInfinity) {
  const SamplerOptions options{.temperature = 1, .seed = 6};
  const at::Tensor logits = row({-kInfinity, 0, -kInfinity, 0, -kInfinity});
  const auto counts = histogram(logits, options, 500);
  EXPECT_EQ(counts[1] + counts[3], 500);
}

TEST(Sampler, SurvivesATinyTemperature) {
  const SamplerOptions options{.temperature = 1e-300, .seed = 6};
  EXPECT_EQ(sample_token(row({1, 1000, 2}), options, 0), 1);
}

TEST(Sampler, RefusesBrokenLogitsAndOptions) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(greedy_token(row({0, nan})), UserError);
  EXPECT_THROW(greedy_token(row({nan, 0})), UserError);
  EXPECT_THROW(greedy_token(row({0, kInfinity})), UserError);
  EXPECT_THROW(greedy_token(row({-kInfinity, -kInfinity})), UserError);
  const at::Tensor logits = row({0, 1});
  EXPECT_THROW(sample_token(logits, {.temperature = -1}, 0), UserError);
  EXPECT_THROW(sample_token(logits, {.temperature = nan}, 0), UserError);
  EXPECT_THROW(sample_token(logits, {.top_k = -1}, 0), UserError);
  EXPECT_THROW(sample_token(logits, {.top_p = 0}, 0), UserError);
  EXPECT_THROW(sample_token(logits, {.top_p = 1.01}, 0), UserError);
}

}  // namespace
}  // namespace annuli

#include "annuli/grow/router_centroids.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"
#include "annuli/grow/upcycle.h"
#include "annuli/kernels/mixture.h"
#include "annuli/model/transformer.h"
#include "tests/support/finite_difference.h"
#include "tests/support/growth_checks.h"
#include "tests/support/model_folder.h"
#include "tests/support/tensor_checks.h"

namespace annuli::grow {
namespace {

using test::random_tensor;

constexpr int64_t kClusters = 6;
constexpr int64_t kOfEach = 40;
constexpr int64_t kWidth = 24;

// A direction of each cluster, noise of a fifth about it, and a mean that all
// tokens share and that is ten times as large.
at::Tensor clustered() {
  const at::Tensor centres = random_tensor({kClusters, kWidth}, "centres");
  at::Tensor x = 0.2 * random_tensor({kClusters * kOfEach, kWidth}, "about");
  for (int64_t n = 0; n < x.size(0); ++n) {
    x[n].add_(centres[n % kClusters]);
  }
  return x + 10 * random_tensor({kWidth}, "mean");
}

// The expert of each token, [N].
at::Tensor first_choice(const at::Tensor& x, const at::Tensor& rows) {
  return std::get<1>(at::topk(x.matmul(rows.t()), 1, 1)).view(-1);
}

double imbalance(const at::Tensor& x, const at::Tensor& rows, int64_t k) {
  const auto load = kernels::expert_load(
      kernels::route(x.matmul(rows.t()), k, 1).experts, rows.size(0));
  const double fullest =
      static_cast<double>(*std::max_element(load.begin(), load.end()));
  return fullest * static_cast<double>(rows.size(0)) /
         static_cast<double>(k * x.size(0));
}

TEST(Centroids, TokensOfSeparatedClustersGoToDifferentExperts) {
  const at::Tensor x = clustered();
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const at::Tensor rows = centroid_rows(x, {kClusters, seed}, 0);
    const at::Tensor experts = first_choice(x, rows);
    std::set<int64_t> used;
    for (int64_t c = 0; c < kClusters; ++c) {
      const int64_t expert = experts[c].item<int64_t>();
      used.insert(expert);
      for (int64_t n = c; n < x.size(0); n += kClusters) {
        EXPECT_EQ(experts[n].item<int64_t>(), expert) << "seed " << seed;
      }
    }
    EXPECT_EQ(used.size(), kClusters) << "seed " << seed;
  }
}

TEST(Centroids, LoadIsMoreEvenThanThatOfRandomRows) {
  const at::Tensor x = clustered();
  double of_centroids = 0;
  double of_random = 0;
  const at::Tensor unit = x.mean(0) / x.mean(0).norm();
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    of_centroids += imbalance(x, centroid_rows(x, {kClusters, seed}, 0), 1) / 5;
    at::Tensor random =
        random_tensor({kClusters, kWidth}, "random" + std::to_string(seed));
    random -= random.mv(unit).outer(unit);
    of_random += imbalance(x, random, 1) / 5;
  }
  EXPECT_NEAR(of_centroids, 1, 1e-12);
  EXPECT_GT(of_random, 1.5);
}

// The mutant: rows that still have what all tokens share. Centres of what was
// not centred are all near the mean, and one of them is chosen by nearly all.
TEST(Centroids, NeedTheMeanTakenOut) {
  const at::Tensor x = clustered();
  const at::Tensor rows = centroid_rows(x, {kClusters, 1}, 0);
  const at::Tensor mean = x.mean(0);
  at::Tensor uncentred = rows.clone();
  for (int64_t c = 0; c < kClusters; ++c) {
    uncentred[c].add_(mean * (0.1 * static_cast<double>(c)));
  }
  EXPECT_GT(imbalance(x, uncentred, 1), 3);
}

TEST(Centroids, RowsAreOfOneLengthAndOrthogonalToTheMean) {
  const at::Tensor x = clustered();
  const at::Tensor rows = centroid_rows(x, {kClusters, 1}, 0);
  const at::Tensor norms = rows.norm(2, {1});
  EXPECT_LE((norms.max() - norms.min()).item<double>(),
            1e-13 * norms.max().item<double>());
  const at::Tensor mean = x.mean(0);
  const double along = (rows.mv(mean).abs().max() / mean.norm()).item<double>();
  EXPECT_LE(along, 1e-13 * norms.max().item<double>());
}

// The mean square of the logits is that of random rows of deviation 1: of 2000
// of them, 6 standard errors of sqrt(2 / 2000).
TEST(Centroids, LogitsAreAsLargeAsThoseOfRandomRows) {
  const at::Tensor x = clustered();
  const at::Tensor rows = centroid_rows(x, {kClusters, 1}, 0);
  const at::Tensor unit = x.mean(0) / x.mean(0).norm();
  at::Tensor random = random_tensor({2000, kWidth}, "many rows");
  random -= random.mv(unit).outer(unit);
  const at::Tensor about = x - x.mean(0);
  const auto squares = [&](const at::Tensor& w) {
    return about.matmul(w.t()).square().mean().item<double>();
  };
  EXPECT_NEAR(squares(rows) / squares(random), 1, 6 * std::sqrt(2.0 / 2000));
}

TEST(Centroids, AreTheSameBitsForAnyNumberOfThreads) {
  const at::Tensor x = clustered().to(at::kFloat);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = centroid_rows(x, {kClusters, 1}, 3);
  at::set_num_threads(3);
  const at::Tensor three = centroid_rows(x, {kClusters, 1}, 3);
  at::set_num_threads(threads);
  EXPECT_TRUE(test::same_bits(one, three));
  EXPECT_FALSE(test::same_bits(one, centroid_rows(x, {kClusters, 2}, 3)));
  EXPECT_FALSE(test::same_bits(one, centroid_rows(x, {kClusters, 1}, 2)));
}

// Nothing to tell apart, and fewer tokens than rows: no NaN.
TEST(Centroids, OfTokensThatAreAllAlikeAreFinite) {
  for (const at::Tensor& x :
       {at::ones({9, 4}, at::kFloat), at::zeros({3, 4}, at::kFloat),
        random_tensor({2, 4}, "two", at::kFloat)}) {
    const at::Tensor rows = centroid_rows(x, {5, 1}, 0);
    EXPECT_TRUE(rows.isfinite().all().item<bool>());
  }
}

TEST(Centroids, OfAModelAreOfEachLayersInputs) {
  const Transformer model =
      tiny::model(tiny::config({.gated = true}), at::kFloat);
  test::TestFolder folder;
  tiny::save_as(model, folder.path() / "model", at::kFloat);
  const at::Tensor tokens = tiny::tokens(4, 64, 61);
  const auto rows =
      router_centroids(ModelFile(folder.path() / "model"), tokens, {4, 9});
  Trace trace;
  model.hidden_states(tokens, {.trace = &trace});
  ASSERT_EQ(rows.size(), trace.layers.size());
  for (size_t layer = 0; layer < rows.size(); ++layer) {
    const at::Tensor expected = centroid_rows(
        trace.layers[layer].ffn_input, {4, 9}, static_cast<int64_t>(layer));
    EXPECT_LE(tiny::relative_error(rows[layer], expected), 1e-6);
  }
}

// As exact as any router of copies; shards of a copy share a row.
TEST(Centroids, MakeRoutersOfAnUpcycling) {
  const Transformer parent =
      tiny::model(tiny::config({.gated = true}), at::kDouble);
  const at::Tensor tokens = tiny::tokens(4, 64, 61);
  for (const int64_t G : {1, 2}) {
    const Recipe recipe = Upcycle({.num_experts = 4,
                                   .num_experts_per_tok = 2 * G,
                                   .router = RouterInit::kCentroids,
                                   .router_std = 0.5,
                                   .granularity = G})
                              .recipe(parent.config(), 3);
    EXPECT_TRUE(recipe.exact);
    EXPECT_TRUE(recipe.needs_router_mean());
    ASSERT_EQ(recipe.router_centroids(), 4);
    std::vector<at::Tensor> rows;
    Trace trace;
    parent.hidden_states(tokens, {.trace = &trace});
    for (int64_t layer = 0; layer < 3; ++layer) {
      rows.push_back(centroid_rows(trace.layers[layer].ffn_input,
                                   {4, recipe.seed}, layer));
    }
    const Transformer child = grow(tiny::clone(parent), recipe, rows);
    EXPECT_LE(tiny::logit_error(parent, child), 1e-12);
    const at::Tensor router =
        child.weight(find_row(child.table(), Part::kRouter, 1));
    for (int64_t e = 0; e < 4 * G; ++e) {
      EXPECT_TRUE(router[e].equal(0.5 * rows[1][e / G])) << e;
    }
    const Json line = to_json(recipe);
    EXPECT_EQ(recipe_from_json(line).router_centroids(), 4);
    EXPECT_EQ(to_json(recipe_from_json(line)), line);
  }
}

}  // namespace
}  // namespace annuli::grow

// Operators that make or enlarge mixtures.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/merge_experts.h"
#include "annuli/grow/transforms/drop.h"
#include "annuli/grow/transforms/random_router.h"
#include "annuli/grow/upcycle.h"
#include "tests/support/growth_checks.h"

namespace annuli::grow {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr double kSeen = 1e-2;  // what a fault must move the logits by

std::vector<tiny::Flavour> dense_flavours() {
  std::vector<tiny::Flavour> dense;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    if (!flavour.mixture) dense.push_back(flavour);
  }
  return dense;
}

const TensorRecipe& find(const Recipe& recipe, Part part, int64_t layer,
                         int64_t expert = -1) {
  return recipe.tensors.at(
      find_row(tensor_table(recipe.child), part, layer, expert));
}

// A strong router, so that tokens choose different experts.
UpcycleOptions shards(int64_t G, int64_t k,
                      ShardScale scale = ShardScale::kDown) {
  return {.num_experts = 3,
          .num_experts_per_tok = k,
          .router_std = 0.5,
          .granularity = G,
          .shard_scale = scale};
}

TEST(FineGrained, KeepsTheFunctionInWholeGroups) {
  for (const tiny::Flavour& flavour : dense_flavours()) {
    SCOPED_TRACE(tiny::name_of(flavour));
    for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      for (int64_t G : {2, 4}) {
        for (int64_t k : {G, 2 * G}) {
          const Recipe recipe =
              Upcycle(shards(G, k)).recipe(parent.config(), 3);
          EXPECT_TRUE(recipe.exact);
          EXPECT_EQ(recipe.child.num_experts, 3 * G);
          EXPECT_EQ(recipe.child.intermediate_size, 40 / G);
          EXPECT_LE(tiny::logit_error(parent, tiny::grown(parent, recipe)),
                    tiny::growth_limit(dtype, true));
        }
      }
    }
  }
}

TEST(FineGrained, MayShareTheScaleWithUpWhereGated) {
  const Transformer gated =
      tiny::model(tiny::config({.gated = true, .mlp_bias = true}), at::kDouble);
  const auto options = shards(4, 4, ShardScale::kUpAndDown);
  const Recipe recipe = Upcycle(options).recipe(gated.config(), 3);
  EXPECT_EQ(find(recipe, Part::kUp, 0, 1).scale, 2);
  EXPECT_EQ(find(recipe, Part::kDown, 0, 1).scale, 2);
  EXPECT_EQ(find(recipe, Part::kDownBias, 0, 1).scale, 1);
  EXPECT_LE(tiny::logit_error(gated, tiny::grown(gated, recipe)),
            tiny::growth_limit(at::kDouble, true));
  EXPECT_THAT([&] { Upcycle(options).recipe(tiny::config(), 3); },
              ThrowsMessage<UserError>(HasSubstr("not proportional to up")));
}

TEST(FineGrained, SaysWhenGroupsAreSplit) {
  const Transformer parent = tiny::model(tiny::config(), at::kDouble);
  const Recipe recipe = Upcycle(shards(4, 3)).recipe(parent.config(), 3);
  EXPECT_FALSE(recipe.exact);
  EXPECT_GT(recipe.loss_budget, 0);
  EXPECT_GE(tiny::logit_error(parent, tiny::grown(parent, recipe)), kSeen);
}

TEST(FineGrained, SharesRouterRowsInsideACopy) {
  const ModelConfig config = tiny::config();
  const Recipe recipe = Upcycle(shards(2, 2)).recipe(config, 3);
  const at::Tensor router =
      apply(find(recipe, Part::kRouter, 1), {}, recipe.seed, at::kDouble);
  EXPECT_EQ(router.size(0), 6);
  for (int64_t copy = 0; copy < 3; ++copy) {
    EXPECT_TRUE(at::equal(router[2 * copy], router[2 * copy + 1]));
    EXPECT_FALSE(at::equal(router[2 * copy], router[(2 * copy + 2) % 6]));
  }
  EXPECT_EQ(find(recipe, Part::kUp, 0, 3).dimensions[0].slices,
            (std::vector<Slice>{{20, 20}}));
}

// Each is what a converter of others does.
TEST(FineGrained, FaultsAreSeen) {
  const Transformer parent =
      tiny::model(tiny::config({.gated = true}), at::kDouble);
  const Recipe right = Upcycle(shards(2, 2)).recipe(parent.config(), 3);
  const auto error_with = [&](const std::function<void(TensorRecipe&)>& fault) {
    Recipe wrong = right;
    for (TensorRecipe& tensor : wrong.tensors) fault(tensor);
    return tiny::logit_error(parent, tiny::grown(parent, wrong));
  };
  EXPECT_GE(error_with([](TensorRecipe& t) {
              if (t.scale == 2) t.scale = 0.5;
            }),
            kSeen)
      << "down divided, not multiplied";
  EXPECT_GE(
      error_with([](TensorRecipe& t) {
        if (!t.steps.empty()) {
          t.steps[1].dimensions[0].slices = {{0, 2}, {0, 2}, {2, 1}, {2, 1}};
        }
      }),
      kSeen)
      << "a row for the copies of one shard";
}

TEST(SharedExpert, IsTheDenseLayerBitForBit) {
  for (const tiny::Flavour& flavour : dense_flavours()) {
    SCOPED_TRACE(tiny::name_of(flavour));
    for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      for (int64_t G : {1, 4}) {
        UpcycleOptions options = shards(G, 3);
        options.shared_expert = true;
        const Recipe recipe = Upcycle(options).recipe(parent.config(), 3);
        EXPECT_TRUE(recipe.exact);
        const Transformer child = tiny::grown(parent, recipe);
        const at::Tensor tokens = tiny::growth_probe(parent.config());
        EXPECT_TRUE(at::equal(parent.logits(tokens), child.logits(tokens)));
      }
    }
  }
}

TEST(SharedExpert, NeedsItsDownDoubled) {
  const Transformer parent = tiny::model(tiny::config(), at::kDouble);
  UpcycleOptions options = shards(1, 2);
  options.shared_expert = true;
  Recipe recipe = Upcycle(options).recipe(parent.config(), 3);
  for (TensorRecipe& tensor : recipe.tensors) {
    if (tensor.scale == 2) tensor.scale = 1;
  }
  EXPECT_GE(tiny::logit_error(parent, tiny::grown(parent, recipe)), kSeen);
}

TEST(SharedExpert, CarriesTheDenseLayersState) {
  Transformer parent = tiny::model(tiny::config({.gated = true}), at::kDouble);
  UpcycleOptions options = shards(1, 2);
  options.shared_expert = true;
  const Recipe recipe = Upcycle(options).recipe(parent.config(), 3);
  const TensorRecipe& down = find(recipe, Part::kDown, 1, kSharedExpert);
  EXPECT_TRUE(down.carry_state);
  EXPECT_EQ(down.gradient_scale, 0.5);
  EXPECT_FALSE(find(recipe, Part::kSharedGate, 1).carry_state);
  EXPECT_FALSE(find(recipe, Part::kUp, 1, 2).carry_state);
  Transformer child = tiny::grown(parent, recipe);
  const auto gradients = tiny::gradient_error(parent, child, recipe);
  EXPECT_LE(gradients.error, 1e-12) << gradients.tensor;
}

TEST(DropUpcycling, DrawsOneSetOfUnitsForAnExpert) {
  const Transformer parent =
      tiny::model(tiny::config({.gated = true}), at::kDouble);
  const Recipe recipe =
      Upcycle({.num_experts = 4, .drop_ratio = 0.5}).recipe(parent.config(), 3);
  EXPECT_FALSE(recipe.exact);
  const Transformer child = tiny::grown(parent, recipe);
  // Units that still are the parent's, from each of the three matrices.
  const auto kept = [&](Part part, int64_t expert) {
    const at::Tensor& was =
        parent.weight(find_row(parent.table(), part, 1, -1));
    const at::Tensor& is =
        child.weight(find_row(child.table(), part, 1, expert));
    const int64_t other = part == Part::kDown ? 0 : 1;
    return (was == is).all(other);
  };
  for (int64_t expert = 0; expert < 4; ++expert) {
    const at::Tensor up = kept(Part::kUp, expert);
    EXPECT_EQ(up.sum().item<int64_t>(), 20);
    EXPECT_TRUE(at::equal(up, kept(Part::kGate, expert)));
    EXPECT_TRUE(at::equal(up, kept(Part::kDown, expert)));
  }
  EXPECT_FALSE(at::equal(kept(Part::kUp, 0), kept(Part::kUp, 1)));
  EXPECT_GE(tiny::logit_error(parent, child), kSeen);
}

TEST(DropUpcycling, KeepsMeanAndDeviation) {
  const Drop drop(0.5, /*of_dimension=*/0, 5);
  TensorRecipe normal{.source = Source::kRandomRouter, .shape = {64, 256}};
  normal.set(std::make_shared<RandomRouter>(0.3, false));
  at::Tensor matrix = apply(normal, {}, 1, at::kDouble) + 0.2;
  const auto units = dropped_units(drop, 64, 9);
  EXPECT_EQ(units.size(), 32u);
  const at::Tensor before = matrix.clone();
  drop_units(matrix, drop, 9, 2);
  double sum = 0;
  double squares = 0;
  for (int64_t unit : units) {
    EXPECT_FALSE(at::equal(before[unit], matrix[unit]));
    sum += matrix[unit].sum().item<double>();
    squares += (matrix[unit] - 0.2).square().sum().item<double>();
  }
  // 8192 numbers: standard errors of 0.0033 and 0.8 %; old and new ones differ
  // by the square root of 2 of that.
  EXPECT_NEAR(sum / 8192, 0.2, 0.02);
  EXPECT_NEAR(std::sqrt(squares / 8192) / 0.3, 1, 0.05);
}

TEST(Upcycling, NormalisesGatesAndRefusesMeansThatNobodyMeasured) {
  const ModelConfig config = tiny::config({.gated = true});
  const Transformer parent = tiny::model(config, at::kDouble);
  Recipe recipe =
      Upcycle({.router = RouterInit::kMeanOrthogonal}).recipe(config, 3);
  EXPECT_TRUE(recipe.child.norm_topk_prob);
  EXPECT_TRUE(recipe.needs_router_mean());
  EXPECT_THROW(tiny::grown(parent, recipe), CheckFailure);
  recipe = Upcycle({.router_std = 0.5}).recipe(config, 3);
  EXPECT_FALSE(recipe.needs_router_mean());
  EXPECT_LE(tiny::logit_error(parent, tiny::grown(parent, recipe)), 1e-13);
}

std::vector<tiny::Flavour> mixture_flavours() {
  std::vector<tiny::Flavour> mixtures;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    if (flavour.mixture) mixtures.push_back(flavour);
  }
  return mixtures;
}

TEST(ExpandExperts, KeepsTheFunctionWithBothGateOrders) {
  for (const tiny::Flavour& flavour : mixture_flavours()) {
    SCOPED_TRACE(tiny::name_of(flavour));
    for (bool normalised : {true, false}) {
      ModelConfig config = tiny::config(flavour);
      config.norm_topk_prob = normalised;
      for (int64_t m : {2, 3}) {
        const Recipe recipe = ExpandExperts({.factor = m}).recipe(config, 3);
        EXPECT_TRUE(recipe.exact);
        Transformer parent = tiny::model(config, at::kDouble);
        Transformer child = tiny::grown(parent, recipe);
        EXPECT_LE(tiny::logit_error(parent, child),
                  tiny::growth_limit(at::kDouble, true));
        const auto gradients = tiny::gradient_error(parent, child, recipe);
        EXPECT_LE(gradients.error, 1e-12) << gradients.tensor;
        const Transformer single = tiny::model(config, at::kFloat);
        EXPECT_LE(tiny::logit_error(single, tiny::grown(single, recipe)),
                  tiny::growth_limit(at::kFloat, true));
      }
    }
  }
}

TEST(ExpandExperts, WithTheOldKIsNotExactAndSaysSo) {
  const Transformer parent =
      tiny::model(tiny::config({.mixture = true}), at::kDouble);
  const Recipe recipe =
      ExpandExperts({.num_experts_per_tok = 2}).recipe(parent.config(), 3);
  EXPECT_FALSE(recipe.exact);
  EXPECT_GT(recipe.loss_budget, 0);
  EXPECT_FALSE(find(recipe, Part::kRouter, 0).carry_state);
  EXPECT_TRUE(find(recipe, Part::kQ, 0).carry_state);
  EXPECT_GE(tiny::logit_error(parent, tiny::grown(parent, recipe)), kSeen);
  EXPECT_THAT([] { ExpandExperts({}).recipe(tiny::config(), 3); },
              ThrowsMessage<UserError>(HasSubstr("dense parent")));
}

ExpandExperts closed_copies(int64_t m, int64_t k = 2) {
  return ExpandExperts(
      {.factor = m, .num_experts_per_tok = k, .selection_bias = true});
}

at::Tensor bias_of(const Transformer& model, int64_t layer) {
  return model.weight(find_row(model.table(), Part::kSelectionBias, layer));
}

TEST(ExpandExperts, ClosedCopiesKeepTheFunctionWithTheOldK) {
  for (const tiny::Flavour& flavour : mixture_flavours()) {
    if (!flavour.norm_topk_prob) continue;
    SCOPED_TRACE(tiny::name_of(flavour));
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      for (const int64_t m : {2, 3}) {
        const Recipe recipe = closed_copies(m).recipe(parent.config(), 3);
        EXPECT_TRUE(recipe.exact);
        EXPECT_EQ(recipe.child.num_experts_per_tok, 2);
        EXPECT_TRUE(recipe.child.selection_bias);
        const Transformer child = tiny::grown(parent, recipe);
        EXPECT_LE(tiny::logit_error(parent, child),
                  tiny::growth_limit(dtype, true));
        // The mutant: a copy of each expert is open.
        for (int64_t layer = 0; layer < 3; ++layer) {
          at::Tensor bias = bias_of(child, layer);
          bias.narrow(0, 4, 4).copy_(bias.narrow(0, 0, 4));
        }
        EXPECT_GE(tiny::logit_error(parent, child), kSeen);
      }
    }
  }
}

// Whatever biases and probabilities are: the originals' are far apart, and
// routers are strong, so that probabilities reach 0 and 1 / m.
TEST(ExpandExperts, NoTokenChoosesAClosedCopy) {
  Transformer parent = tiny::model(
      tiny::config({.mixture = true, .selection_bias = true}), at::kFloat);
  for (int64_t layer = 0; layer < 3; ++layer) {
    parent.weight(find_row(parent.table(), Part::kRouter, layer)).mul_(30);
    bias_of(parent, layer).mul_(3);
  }
  for (const int64_t m : {2, 3, 8}) {
    const Transformer child =
        tiny::grown(parent, closed_copies(m).recipe(parent.config(), 3));
    Trace trace;
    const at::Tensor tokens = tiny::tokens(8, 64, 61);
    child.hidden_states(tokens, {.trace = &trace});
    for (const LayerTrace& layer : trace.layers) {
      EXPECT_LT(layer.experts.max().item<int64_t>(), 4) << m;
      EXPECT_GT(layer.router_logits.softmax(1).max().item<double>(), 0.9 / m);
    }
  }
}

TEST(ExpandExperts, BiasesFollowTheProbabilities) {
  const ModelConfig config =
      tiny::config({.mixture = true, .selection_bias = true});
  const Transformer parent = tiny::model(config, at::kDouble);
  const at::Tensor before = bias_of(parent, 1);
  const Transformer open =
      tiny::grown(parent, ExpandExperts({.factor = 2}).recipe(config, 3));
  EXPECT_TRUE(at::equal(bias_of(open, 1).narrow(0, 0, 4), before / 2));
  EXPECT_TRUE(at::equal(bias_of(open, 1).narrow(0, 4, 4), before / 2));
  const Recipe recipe = closed_copies(2).recipe(config, 3);
  const at::Tensor after = bias_of(tiny::grown(parent, recipe), 1);
  EXPECT_TRUE(at::equal(after.narrow(0, 0, 4), before / 2));
  const double closed = before.min().item<double>() / 2 - (1 + 1.0 / 128);
  for (int64_t e = 4; e < 8; ++e) EXPECT_EQ(after[e].item<double>(), closed);
  // The parent's experts have their whole gradients.
  EXPECT_EQ(find(recipe, Part::kUp, 0, 5).gradient_scale, 1);
  EXPECT_EQ(find(recipe, Part::kRouter, 0).gradient_scale, 1);
  EXPECT_TRUE(find(recipe, Part::kRouter, 0).carry_state);
}

TEST(ExpandExperts, RefusesWhatClosedCopiesCannotKeep) {
  const ModelConfig config = tiny::config({.mixture = true});
  EXPECT_THAT([&] { closed_copies(2, 4).recipe(config, 3); },
              ThrowsMessage<UserError>(
                  HasSubstr("num_experts_per_tok: found 4 beside "
                            "selection_bias, with which no copy is chosen at "
                            "first; expected the parent's, 2")));
  EXPECT_THAT(
      [&] { ExpandExperts({.selection_bias = true}).recipe(config, 3); },
      ThrowsMessage<UserError>(HasSubstr("expected the parent's, 2")));
  ModelConfig raw = config;
  raw.norm_topk_prob = false;
  EXPECT_THAT([&] { closed_copies(2).recipe(raw, 3); },
              ThrowsMessage<UserError>(HasSubstr("raw probabilities")));
}

TEST(Upcycle, GivesExpertsBiasesOfZero) {
  const Transformer parent =
      tiny::model(tiny::config({.gated = true}), at::kFloat);
  const Recipe recipe = Upcycle({.num_experts = 4, .selection_bias = true})
                            .recipe(parent.config(), 3);
  const Transformer child = tiny::grown(parent, recipe);
  EXPECT_TRUE(child.config().selection_bias);
  EXPECT_EQ(bias_of(child, 2).abs().max().item<double>(), 0);
  EXPECT_LE(tiny::logit_error(parent, child), 1e-5);
  EXPECT_FALSE(Upcycle({}).recipe(parent.config(), 3).child.selection_bias);
}

TEST(ExpandExperts, MapsExperts) {
  const Recipe recipe =
      ExpandExperts({}).recipe(tiny::config({.mixture = true}), 3);
  EXPECT_EQ(recipe.experts.size(), 8u);
  EXPECT_EQ(recipe.experts[5].parent, 1);
  EXPECT_EQ(find(recipe, Part::kUp, 0, 5).gradient_scale, 0.5);
  EXPECT_EQ(find(recipe, Part::kRouter, 0).gradient_scale, 0.5);
}

TEST(MergeExperts, OfEqualModelsIsTheModel) {
  const Transformer parent =
      tiny::model(tiny::config({.gated = true}), at::kDouble);
  const Recipe recipe = MergeExperts({.with = {"b", "c"}, .router_std = 0.5})
                            .recipe(parent.config(), 3);
  EXPECT_FALSE(recipe.exact);
  EXPECT_EQ(recipe.models, 3);
  std::vector<Transformer> parents;
  for (int i = 0; i < 3; ++i) parents.push_back(tiny::clone(parent));
  const Transformer child = grow(std::move(parents), recipe);
  EXPECT_EQ(child.config().num_experts, 3);
  EXPECT_LE(tiny::logit_error(parent, child), 1e-12);
}

TEST(MergeExperts, TakesEachFeedForwardAndTheMeanOfTheRest) {
  const ModelConfig config = tiny::config({.gated = true});
  const Transformer first = tiny::model(config, at::kDouble, 1);
  const Transformer second = tiny::model(config, at::kDouble, 2);
  std::vector<Transformer> parents;
  parents.push_back(tiny::clone(first));
  parents.push_back(tiny::clone(second));
  const Recipe recipe = MergeExperts({.with = {"b"}}).recipe(config, 3);
  const Transformer child = grow(std::move(parents), recipe);
  const auto weight = [](const Transformer& model, Part part,
                         int64_t expert = -1) {
    return model.weight(find_row(model.table(), part, 1, expert));
  };
  EXPECT_TRUE(at::equal(weight(child, Part::kUp, 0), weight(first, Part::kUp)));
  EXPECT_TRUE(
      at::equal(weight(child, Part::kDown, 1), weight(second, Part::kDown)));
  EXPECT_TRUE(
      at::equal(weight(child, Part::kQ),
                (weight(first, Part::kQ) + weight(second, Part::kQ)) / 2));
  for (const TensorRecipe& tensor : recipe.tensors) {
    EXPECT_FALSE(tensor.carry_state) << tensor.child;
  }
  EXPECT_THAT([&] { MergeExperts({}).recipe(config, 3); },
              ThrowsMessage<UserError>(HasSubstr("merge_experts.with")));
}

TEST(MixturesOnDisk, KeepTheFunction) {
  const Transformer dense =
      tiny::model(tiny::config({.gated = true}), at::kFloat);
  const Recipe recipe = Upcycle(shards(4, 4)).recipe(dense.config(), 3);
  const Transformer mixture = tiny::through_disk(tiny::grown(dense, recipe));
  EXPECT_LE(tiny::logit_error(dense, mixture), 1e-5);
  const Transformer larger = tiny::through_disk(
      tiny::grown(mixture, ExpandExperts({}).recipe(mixture.config(), 3)));
  EXPECT_LE(tiny::logit_error(dense, larger), 1e-5);
}

}  // namespace
}  // namespace annuli::grow

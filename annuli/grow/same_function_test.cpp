#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <utility>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/growth_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using tiny::grown;
using tiny::growth_limit;
using tiny::growth_probe;
using tiny::logit_error;

struct WidenCase {
  tiny::Flavour flavour;
  WidenHead head;
};

std::vector<WidenCase> widen_cases() {
  std::vector<WidenCase> cases;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    cases.push_back({flavour, WidenHead::kUntie});
    if (!flavour.tied) continue;
    cases.push_back({flavour, WidenHead::kFold});
    cases.push_back({flavour, WidenHead::kMultiplier});
  }
  return cases;
}

std::string case_name(const ::testing::TestParamInfo<WidenCase>& info) {
  return tiny::name_of(info.param.flavour) +
         (info.param.head == WidenHead::kFold         ? "_fold"
          : info.param.head == WidenHead::kMultiplier ? "_multiplier"
                                                      : "_untie");
}

class WidenFunction : public ::testing::TestWithParam<WidenCase> {
 protected:
  Recipe recipe(int64_t n, std::optional<double> snr_db) const {
    return Widen({n, snr_db, GetParam().head}).recipe(config(), 3);
  }
  ModelConfig config() const { return tiny::config(GetParam().flavour); }
};

INSTANTIATE_TEST_SUITE_P(Flavours, WidenFunction,
                         ::testing::ValuesIn(widen_cases()), case_name);

TEST_P(WidenFunction, IsKept) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const Transformer parent = tiny::model(config(), dtype);
    for (int64_t n : {2, 3, 4}) {
      EXPECT_LE(logit_error(parent, grown(parent, recipe(n, std::nullopt))),
                growth_limit(dtype, false))
          << n;
    }
    EXPECT_LE(logit_error(parent, grown(parent, recipe(2, 10))),
              growth_limit(dtype, true));
    EXPECT_LE(logit_error(parent, grown(parent, recipe(3, 10))),
              growth_limit(dtype, true));
  }
}

TEST_P(WidenFunction, EveryResidualStreamIsTiled) {
  const Transformer parent = tiny::model(config(), at::kDouble);
  const Transformer child = grown(parent, recipe(3, 10));
  const int64_t D = config().hidden_size;
  Trace of_parent, of_child;
  parent.logits(growth_probe(config()), {.trace = &of_parent});
  child.logits(growth_probe(config()), {.trace = &of_child});
  for (size_t layer = 0; layer < of_parent.layers.size(); ++layer) {
    for (int64_t copy = 0; copy < 3; ++copy) {
      EXPECT_LE(tiny::relative_error(
                    of_parent.layers[layer].residual,
                    of_child.layers[layer].residual.narrow(2, copy * D, D)),
                growth_limit(at::kDouble, true))
          << layer;
    }
  }
}

// Without noise every copy's gradient is the parent's times gradient_scale. An
// untied table has lost the head's share of the gradient to the head.
TEST_P(WidenFunction, GradientsFollowTheRecipe) {
  Transformer parent = tiny::model(config(), at::kDouble);
  const Recipe recipe = this->recipe(3, std::nullopt);
  Transformer child = grown(parent, recipe);
  const LossOptions options{.router_aux_loss_coef = 0.01,
                            .router_z_loss_coef = 0.001};
  const at::Tensor targets = growth_probe(config(), 8);
  const auto of_parent =
      tiny::gradients(parent, growth_probe(config()), targets, options);
  auto of_child =
      tiny::gradients(child, growth_probe(config()), targets, options);
  const bool unties =
      GetParam().flavour.tied && GetParam().head == WidenHead::kUntie;
  if (unties) {
    // head's block + n * table's block; left in the table's place.
    of_child.front() = of_child.front() + of_child.back() / 3;
    of_child.pop_back();
  }
  for (size_t row = 0; row < of_child.size(); ++row) {
    const TensorRecipe& tensor = recipe.tensors[row];
    const int64_t source = find_row(parent.table(), tensor.parent);
    if (!of_parent[source].defined()) continue;  // an expert without tokens
    EXPECT_LE(tiny::relative_error(tiny::followed(tensor, of_parent[source]),
                                   of_child[row]),
              1e-12)
        << tensor.child;
  }
}

// Each fault is one a converter could make; the comparison above must see it.
class WidenFaults : public ::testing::Test {
 protected:
  explicit WidenFaults(WidenHead head = WidenHead::kFold)
      : parent_(tiny::model(tiny::config({.mixture = true, .gated = true}),
                            at::kDouble)),
        recipe_(Widen({2, 10, head}).recipe(parent_.config(), 3)),
        child_(grown(parent_, recipe_)) {}

  at::Tensor weight(Part part, int64_t layer = -1, int64_t expert = -1) {
    return child_.weight(find_row(child_.table(), part, layer, expert));
  }
  void expect_seen() { EXPECT_GE(logit_error(parent_, child_), 1e-2); }

  Transformer parent_;
  Recipe recipe_;
  Transformer child_;
};

TEST_F(WidenFaults, NoneToBeginWith) {
  EXPECT_LE(logit_error(parent_, child_), growth_limit(at::kDouble, true));
}

TEST_F(WidenFaults, RouterNotDivided) {
  for (int64_t layer = 0; layer < 3; ++layer) {
    weight(Part::kRouter, layer).mul_(2);
  }
  expect_seen();
}

TEST_F(WidenFaults, TiedTableHalved) {
  weight(Part::kEmbedding).mul_(0.5);
  expect_seen();
}

TEST_F(WidenFaults, HeadsSwapped) {
  const at::Tensor q = weight(Part::kQ, 1);
  const int64_t hd = child_.config().head_dim;
  const at::Tensor first = q.narrow(0, 0, hd).clone();
  q.narrow(0, 0, hd).copy_(q.narrow(0, hd, hd));
  q.narrow(0, hd, hd).copy_(first);
  expect_seen();
}

TEST_F(WidenFaults, NoiseThatDoesNotCancel) {
  for (int64_t layer = 0; layer < 3; ++layer) {
    const at::Tensor o = weight(Part::kO, layer);
    const int64_t half = o.size(1) / 2;
    o.narrow(1, half, half).copy_(o.narrow(1, 0, half));
  }
  expect_seen();
}

// Operators speak of axes alone, so other factors per axis need no new code:
// here ffn x 3 beside x 2, and twice the query heads over unchanged kv heads
// (the copies of a group stay inside it).
TEST(AxisRules, OtherFactorsPerAxisKeepTheFunctionToo) {
  const Transformer parent =
      tiny::model(tiny::config({.mixture = true,
                                .gated = true,
                                .tied = false,
                                .qk_norm = true,
                                .num_key_value_heads = 2}),
                  at::kDouble);
  AxisRule rule;
  rule.axes = {{Axis::kResidual, tile(24, 2)},
               {Axis::kHead, {{0, 2}, {0, 2}, {2, 2}, {2, 2}}},
               {Axis::kFfn, tile(40, 3)}};
  rule.transforms = {cancelling_noise(10)};
  Recipe recipe;
  recipe.parent = recipe.child = parent.config();
  recipe.child.hidden_size *= 2;
  recipe.child.num_attention_heads *= 2;
  recipe.child.intermediate_size *= 3;
  derive(rule, recipe);
  EXPECT_LE(logit_error(parent, grown(parent, recipe)),
            growth_limit(at::kDouble, true));
  const TensorRecipe& k =
      recipe.tensors[find_row(tensor_table(recipe.child), Part::kK, 0)];
  EXPECT_EQ(k.scale, 0.5);
  EXPECT_EQ(k.gradient_scale, 1);
  // Copies that leave their group read another kv head.
  rule.axes[Axis::kHead] = tile(4, 2);
  derive(rule, recipe);
  EXPECT_GE(logit_error(parent, grown(parent, recipe)), 1e-2);
}

TEST(WidenOnDisk, KeepsTheFunction) {
  const test::TestFolder scratch;
  const Transformer parent =
      tiny::model(tiny::config({.mixture = true, .gated = true}), at::kFloat);
  for (WidenHead head : {WidenHead::kFold, WidenHead::kUntie}) {
    const Transformer child =
        grown(parent, Widen({2, 10, head}).recipe(parent.config(), 3));
    const std::filesystem::path folder =
        scratch / std::to_string(static_cast<int>(head));
    save_folder(child, folder);
    const Transformer loaded = load_model(folder);
    const at::Tensor tokens = growth_probe(parent.config());
    EXPECT_TRUE(at::equal(child.logits(tokens), loaded.logits(tokens)));
    EXPECT_LE(logit_error(parent, loaded), growth_limit(at::kFloat, true));
  }
}

TEST(UpcycleFunction, IsKeptBitForBitWithAnyRouter) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    for (const tiny::Flavour& flavour : tiny::all_flavours()) {
      if (flavour.mixture) continue;
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      for (RouterInit router : {RouterInit::kRandom, RouterInit::kZero}) {
        for (int64_t k : {1, 2, 3}) {
          const Transformer child = grown(
              parent, Upcycle({6, k, router, 0.5}).recipe(parent.config(), 3));
          const at::Tensor tokens = growth_probe(parent.config());
          EXPECT_TRUE(at::equal(
              parent.logits(tokens),
              child.logits(tokens, {.dispatch = Dispatch::kFullBlock})));
          EXPECT_LE(logit_error(parent, child), growth_limit(dtype, false));
        }
      }
    }
  }
}

TEST(UpcycleFunction, AStrangeExpertIsSeen) {
  const Transformer parent = tiny::model(tiny::config(), at::kDouble);
  const Transformer child = grown(
      parent,
      Upcycle({4, 2, RouterInit::kRandom, 0.5}).recipe(parent.config(), 3));
  const int64_t row = find_row(child.table(), Part::kDown, 1, 2);
  const at::Tensor down = child.weight(row);
  down.copy_(down.flip({0}));
  EXPECT_GE(logit_error(parent, child), 1e-2);
}

TEST(UpcycleFunction, RoutersAreOrthogonalToTheMeans) {
  const Transformer parent = tiny::model(tiny::config(), at::kDouble);
  std::vector<at::Tensor> means;
  for (int64_t layer = 0; layer < 3; ++layer) {
    means.push_back(parent.weight(1 + layer).new_ones({24}) * (layer + 1.0));
  }
  const Recipe recipe = Upcycle({}).recipe(parent.config(), 3);
  const Transformer child = grow(tiny::clone(parent), recipe, means);
  for (int64_t layer = 0; layer < 3; ++layer) {
    const at::Tensor router =
        child.weight(find_row(child.table(), Part::kRouter, layer));
    EXPECT_LT(router.matmul(means[layer]).abs().max().item<double>(), 1e-15);
    EXPECT_GT(router.abs().max().item<double>(), 0.01);
  }
}

TEST(Growth, ThreeStepsInARow) {
  const Transformer dense = tiny::model(tiny::config(), at::kDouble);
  Transformer model = tiny::clone(dense);
  const auto step = [&](const Operator& op) {
    const Recipe recipe = op.recipe(model.config(), 3);
    model = grow(std::move(model), recipe);
  };
  step(Upcycle({}));
  step(Widen({2, 10, WidenHead::kUntie}));
  step(Deepen(DeepenOptions{}));
  EXPECT_LE(logit_error(dense, model), growth_limit(at::kDouble, true));
}

TEST(Growth, ConsumesTheParentAndSharesNothing) {
  Transformer parent = tiny::model(tiny::config(), at::kFloat);
  std::set<const void*> storages;
  for (size_t row = 0; row < parent.table().size(); ++row) {
    storages.insert(parent.weight(row).const_data_ptr());
  }
  const Recipe recipe = Deepen(DeepenOptions{}).recipe(parent.config(), 3);
  const Transformer child = grow(std::move(parent), recipe);
  size_t moved = 0;
  std::set<const void*> distinct;
  for (size_t row = 0; row < child.table().size(); ++row) {
    const void* data = child.weight(row).const_data_ptr();
    moved += storages.count(data);
    EXPECT_TRUE(distinct.insert(data).second) << child.table()[row].name;
  }
  EXPECT_EQ(moved, storages.size());
  for (size_t row = 0; row < storages.size(); ++row) {
    // That nothing is left is promised: NOLINTNEXTLINE(bugprone-use-after-move)
    EXPECT_FALSE(parent.weight(row).defined());
  }
}

}  // namespace
}  // namespace annuli::grow

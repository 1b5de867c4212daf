#include "annuli/grow/deepen.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"
#include "tests/support/growth_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using tiny::grown;
using tiny::growth_probe;
using tiny::logit_error;

TEST(DeepenFunction, IsKeptBitForBitWithZeroOutputs) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer parent = tiny::model(tiny::config(flavour), at::kFloat);
    const at::Tensor tokens = growth_probe(parent.config());
    SCOPED_TRACE(tiny::name_of(flavour));
    for (DeepenPreset preset :
         {DeepenPreset::kCopyLast, DeepenPreset::kStack, DeepenPreset::kMiddle,
          DeepenPreset::kInterpose}) {
      DeepenOptions options{.preset = preset, .add_layers = 2};
      const Transformer same =
          grown(parent, Deepen(options).recipe(parent.config(), 3));
      EXPECT_EQ(same.config().num_hidden_layers, 5);
      EXPECT_TRUE(at::equal(parent.logits(tokens), same.logits(tokens)));
      options.outputs = DeepenOutputs::kKeep;
      const Transformer other =
          grown(parent, Deepen(options).recipe(parent.config(), 3));
      EXPECT_GE(logit_error(parent, other), 1e-2);
    }
  }
}

TEST(DeepenFunction, IsKeptBitForBitByRandomLayersWithZeroOutputs) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer parent = tiny::model(tiny::config(flavour), at::kFloat);
    const at::Tensor tokens = growth_probe(parent.config());
    SCOPED_TRACE(tiny::name_of(flavour));
    DeepenOptions options{.preset = DeepenPreset::kInterpose,
                          .add_layers = 2,
                          .weights = LayerSource::kRandom};
    const Transformer same =
        grown(parent, Deepen(options).recipe(parent.config(), 3));
    EXPECT_TRUE(at::equal(parent.logits(tokens), same.logits(tokens)));
    options.outputs = DeepenOutputs::kKeep;
    const Transformer other =
        grown(parent, Deepen(options).recipe(parent.config(), 3));
    EXPECT_GE(logit_error(parent, other), 1e-3);
  }
}

TEST(DeepenFunction, NewOutputsLearnFromTheFirstStep) {
  for (const LayerSource weights : {LayerSource::kCopy, LayerSource::kRandom}) {
    const Transformer parent = tiny::model(tiny::config(), at::kDouble);
    Transformer child = grown(
        parent,
        Deepen(DeepenOptions{.weights = weights}).recipe(parent.config(), 3));
    const auto gradients = tiny::gradients(child, growth_probe(parent.config()),
                                           growth_probe(parent.config(), 8));
    for (Part part : {Part::kO, Part::kDown}) {
      const int64_t row = find_row(child.table(), part, 5);
      EXPECT_GT(gradients[row].abs().max().item<double>(), 0);
    }
  }
}

// What a new model of the child's shape would have, from the stream of the
// tensor's name; the parent's own layers are theirs.
TEST(RandomLayers, AreThoseOfANewModel) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const ModelConfig config = tiny::config(flavour);
    const Transformer parent = tiny::model(config, at::kFloat);
    const Recipe recipe = Deepen({.preset = DeepenPreset::kInterpose,
                                  .add_layers = 1,
                                  .weights = LayerSource::kRandom,
                                  .outputs = DeepenOutputs::kKeep})
                              .recipe(config, 3);
    const Transformer child = grown(parent, recipe);
    for (size_t row = 0; row < child.table().size(); ++row) {
      const TensorSpec& spec = child.table()[row];
      SCOPED_TRACE(spec.name);
      const at::Tensor found = child.weight(row);
      if (spec.layer < 0 || recipe.layer_is_mapped[spec.layer]) {
        EXPECT_TRUE(
            at::equal(found, parent.weight(recipe.tensors[row].parent)));
        continue;
      }
      at::Tensor expected = at::zeros(spec.shape(), at::kFloat);
      if (spec.is_matrix()) {
        kernels::fill_normal(expected, CounterRng(3, "grow/fresh/" + spec.name),
                             config.initializer_range);
      } else if (!is_bias(spec.part) && is_trained(spec.part)) {
        expected.fill_(1);
      }
      EXPECT_TRUE(at::equal(found, expected));
    }
  }
}

TEST(RandomLayers, FollowFromTheSeed) {
  const Transformer parent = tiny::model(tiny::config(), at::kFloat);
  const Deepen deepen({.weights = LayerSource::kRandom});
  const auto q = [&](uint64_t seed) {
    const Transformer child =
        grown(parent, deepen.recipe(parent.config(), seed));
    return child.weight(find_row(child.table(), Part::kQ, 4));
  };
  EXPECT_TRUE(at::equal(q(1), q(1)));
  EXPECT_FALSE(at::equal(q(1), q(2)));
}

}  // namespace
}  // namespace annuli::grow

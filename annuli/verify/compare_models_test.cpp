#include "annuli/verify/compare_models.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/model_folder.h"
#include "tests/support/tiny_model.h"

namespace annuli::verify {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

constexpr const char* kGate = "model.layers.1.mlp.gate.weight";
constexpr const char* kUp = "model.layers.1.mlp.up_proj.weight";
constexpr const char* kQuery = "model.layers.1.self_attn.q_proj.weight";

// A dense parent in fp32, and what its growth is stored as.
class CompareModels : public ::testing::Test {
 protected:
  CompareModels() { tiny::save_as(parent_, path("parent"), at::kFloat); }

  fs::path path(const std::string& name) const { return folder_.path() / name; }

  ModelComparison compare(const std::string& first, const std::string& second) {
    return compare_models(ModelFile(path(first)), ModelFile(path(second)));
  }

  // The parent beside its child by this operator.
  ModelComparison grown(const grow::Operator& op,
                        at::ScalarType dtype = at::kFloat,
                        const tiny::Change& change = {}) {
    fs::remove_all(path("child"));
    tiny::save_grown(parent_, op.recipe(parent_.config(), 3), path("child"),
                     dtype, change);
    return compare("parent", "child");
  }

  const test::TestFolder folder_;
  const Transformer parent_ = tiny::model(tiny::config(), at::kFloat);
};

const TensorDifference& difference(const ModelComparison& comparison,
                                   const std::string& name) {
  const auto found =
      std::ranges::find(comparison.tensors, name, &TensorDifference::name);
  ANNULI_CHECK(found != comparison.tensors.end(), "no tensor {}", name);
  return *found;
}

std::string said(const ModelComparison& comparison, const std::string& name) {
  return difference(comparison, name).what;
}

const SettingDifference* setting(const ModelComparison& comparison,
                                 const std::string& key) {
  const auto found =
      std::ranges::find(comparison.settings, key, &SettingDifference::key);
  return found == comparison.settings.end() ? nullptr : &*found;
}

TEST_F(CompareModels, AModelIsItself) {
  const ModelComparison same = compare("parent", "parent");
  EXPECT_TRUE(same.settings.empty());
  EXPECT_EQ(same.tensors.size(), tensor_table(parent_.config()).size());
  for (const TensorDifference& tensor : same.tensors) {
    EXPECT_EQ(tensor.what, "equal") << tensor.name;
  }
}

TEST_F(CompareModels, ExpertsAreTheCopiesThatTheyAre) {
  const grow::Upcycle op(UpcyclePlan{.num_experts = 4});
  const ModelComparison moe = grown(op);
  const std::string expert = "model.layers.1.mlp.experts.3.up_proj.weight";
  EXPECT_EQ(said(moe, expert), std::string("new, equal to ") + kUp);
  EXPECT_EQ(said(moe, kUp), "gone");
  EXPECT_EQ(said(moe, kGate), "new");
  EXPECT_EQ(said(moe, kQuery), "equal");
  ASSERT_NE(setting(moe, "num_experts"), nullptr);
  EXPECT_EQ(setting(moe, "num_experts")->second, 4);
  EXPECT_TRUE(setting(moe, "num_experts")->first.is_null());
  // Rounded to bf16, each is found all the same, and told from its neighbours.
  const ModelComparison rounded = grown(op, at::kBFloat16);
  EXPECT_EQ(said(rounded, expert), std::string("new, a rounding of ") + kUp);
  EXPECT_EQ(said(rounded, kQuery), "equal but for rounding");
}

TEST_F(CompareModels, WideningCopiesAlongBothDimensions) {
  const ModelComparison quiet =
      grown(grow::Widen(WidenPlan{.noise_snr_db = std::nullopt}));
  EXPECT_THAT(said(quiet, kUp), StartsWith("2 x 2 copies, times 0.5"));
  EXPECT_EQ(difference(quiet, kUp).relation.relation, Relation::kCopies);
  EXPECT_EQ(difference(quiet, kUp).second_shape,
            (std::vector<int64_t>{80, 48}));
  const ModelComparison noisy = grown(grow::Widen(WidenPlan{}));
  EXPECT_THAT(said(noisy, kUp), EndsWith("that cancels"));
  EXPECT_NEAR(-20 * std::log10(difference(noisy, kUp).relation.change), 10,
              0.5);
}

TEST_F(CompareModels, ALayerThatWasAddedIsACopyOrSilent) {
  const ModelComparison deep = grown(grow::Deepen(DeepenPlan{.add_layers = 1}));
  EXPECT_EQ(said(deep, "model.layers.3.self_attn.q_proj.weight"),
            "new, equal to model.layers.2.self_attn.q_proj.weight");
  EXPECT_EQ(said(deep, "model.layers.3.self_attn.o_proj.weight"), "new, zeros");
}

TEST_F(CompareModels, WhatBecameOfATensorOfTheSameName) {
  const auto with = [&](double factor, double added) {
    return said(grown(grow::Deepen(DeepenPlan{.add_layers = 1}), at::kFloat,
                      [&](const TensorSpec& spec, at::Tensor& value) {
                        if (spec.name != kQuery) return;
                        value = factor * value;
                        value[0][0] += added;
                      }),
                kQuery);
  };
  EXPECT_EQ(with(1, 0), "equal");
  EXPECT_EQ(with(0.25, 0), "times 0.25");
  EXPECT_THAT(with(1, 1), StartsWith("changed by "));
  EXPECT_EQ(with(0, 0), "zeros now");
}

TEST_F(CompareModels, TheRecordHasWhatIsSaid) {
  const ModelComparison moe =
      grown(grow::Upcycle(UpcyclePlan{.num_experts = 4}));
  const Json json = to_json(moe);
  EXPECT_EQ(json.at("config").size(), moe.settings.size());
  const auto& tensors = json.at("tensors");
  ASSERT_EQ(tensors.size(), moe.tensors.size());
  for (const Json& tensor : tensors) {
    const TensorDifference& known = difference(moe, tensor.at("name"));
    EXPECT_EQ(tensor.at("what"), known.what);
    EXPECT_EQ(tensor.contains("source"), !known.source.empty());
    EXPECT_EQ(tensor.contains("first_shape"), !known.first_shape.empty());
    EXPECT_EQ(tensor.contains("second_shape"), known.what != "gone");
  }
}

}  // namespace
}  // namespace annuli::verify

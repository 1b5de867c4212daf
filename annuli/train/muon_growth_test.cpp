// Growth in the middle of training with Muon: a tiled matrix has the tile of
// the orthogonal factor, so with its state carried and `dynamics: exact` the
// child repeats the parent's losses.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/checkpoint/output_folder.h"
#include "annuli/checkpoint/test_files.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/grow_folder.h"
#include "annuli/grow/widen.h"
#include "tests/support/optimizer_training.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using grow::Recipe;
using grow::StateGrowth;
using optim::TensorState;
using tiny::OptimizerTrainee;

constexpr int64_t kSteps = 100;
constexpr StateGrowth kExact = {OptimizerState::kCarry, Dynamics::kExact};

struct Case {
  const char* name;
  tiny::Flavour flavour;
  MuonScale scale = MuonScale::kMoonlight;
};

std::vector<Case> cases() {
  return {
      {"dense_tied", {.tied = true, .num_key_value_heads = 2}},
      {"dense_gated", {.gated = true, .tied = false, .qk_norm = true}},
      {"dense_keller", {.tied = false}, MuonScale::kKeller},
      {"fused_qkv",
       {.qkv_bias = true,
        .o_bias = true,
        .mlp_bias = true,
        .layer_norm = true,
        .parallel = true,
        .fused_qkv = true,
        .partial_rotary = 1 / 3.0}},
      {"mixture", {.mixture = true, .gated = true, .tied = true}},
      {"mixture_keller",
       {.mixture = true, .tied = false, .qk_norm = true},
       MuonScale::kKeller},
  };
}

// A model after 20 steps, its losses in the 100 after them, and what a child
// makes of the same batches.
class MuonDynamics100 : public testing::TestWithParam<Case> {
 protected:
  static constexpr double kRate = 2e-3;

  MuonDynamics100() : config_(tiny::config(GetParam().flavour)) {
    config_.num_hidden_layers = 2;
    const OptimizerPlan plan{.type = OptimizerType::kMuon,
                             .adam_epsilon = 1e-4,
                             .muon_scale = GetParam().scale};
    parent_.emplace(
        tiny::trained(tiny::model(config_, at::kDouble), plan, 20, kRate));
    OptimizerTrainee parent = tiny::copy(*parent_);
    expected_ = tiny::train(parent, 20, kSteps, kRate);
  }

  double difference(OptimizerTrainee child) const {
    const double part = tiny::largest_difference(
        expected_, tiny::train(child, 20, kSteps, kRate));
    RecordProperty(fmt::format("measured_{}", ++measured_),
                   fmt::format("{:.3g}", part));
    return part;
  }

  OptimizerTrainee grown(const Recipe& recipe,
                         const StateGrowth& growth = kExact) const {
    return tiny::grown(*parent_, recipe, growth);
  }

  // With one number of every tensor's state as if nothing had grown.
  template <typename T>
  double without(const Recipe& recipe, T TensorState::*number) const {
    OptimizerTrainee child = grown(recipe);
    std::vector<TensorState> states = child.optimizer.take_states();
    for (TensorState& state : states) state.*number = 1;
    child.optimizer = Optimizer(child.optimizer.plan(), std::move(states));
    return difference(std::move(child));
  }

  // A tied head stays tied: an untied table starts anew.
  WidenPlan options(std::optional<double> factor) const {
    return {factor, std::nullopt,
            config_.tie_word_embeddings ? WidenHead::kFold : WidenHead::kUntie};
  }
  Recipe wider(double factor) const {
    return grow::Widen(options(factor)).recipe(config_, 3);
  }

  ModelConfig config_;
  std::optional<OptimizerTrainee> parent_;
  std::vector<double> expected_;
  mutable int measured_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Cases, MuonDynamics100, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

// As dynamics_test.cpp.
TEST_P(MuonDynamics100, WideningRetracesTheParent) {
  for (const double n : {2, 3}) {
    SCOPED_TRACE(n);
    EXPECT_LE(difference(grown(wider(n))), 1e-12);
  }
}

TEST_P(MuonDynamics100, AndDoesNotIfAnyPartIsMissing) {
  const Recipe recipe = wider(3);
  EXPECT_GE(
      difference(grown(recipe, {OptimizerState::kCarry, Dynamics::kPlain})),
      1e-3)
      << "the old rates";
  EXPECT_GE(
      difference(grown(recipe, {OptimizerState::kReset, Dynamics::kExact})),
      1e-3)
      << "state reset";
  EXPECT_GE(without(recipe, &TensorState::lr_multiplier), 1e-3);
  EXPECT_GE(without(recipe, &TensorState::eps_multiplier), 1e-3);
  EXPECT_GE(without(recipe, &TensorState::weight_decay_multiplier), 1e-3);
  EXPECT_GE(without(recipe, &TensorState::row_copies), 1e-3);
  EXPECT_GE(without(recipe, &TensorState::column_copies), 1e-3);
}

// The paths that growth can take, for a few of the cases.
class MuonDynamics100Paths : public MuonDynamics100 {};
INSTANTIATE_TEST_SUITE_P(Cases, MuonDynamics100Paths,
                         testing::Values(cases()[1], cases()[5]),
                         [](const auto& info) { return info.param.name; });

// Where a and b differ the rate is that of the repeated matrix's shape. (Of a
// longer side that grows alone, moonlight's factor takes the root out by
// itself.)
TEST_P(MuonDynamics100Paths, WideningSomeAxesRetracesTheParent) {
  WidenPlan wide = options(std::nullopt);
  wide.hidden = 2 * config_.hidden_size;
  WidenPlan inner = options(std::nullopt);
  inner.ffn = 3 * config_.intermediate_size;
  for (const WidenPlan& some : {wide, inner}) {
    const Recipe recipe = grow::Widen(some).recipe(config_, 3);
    EXPECT_LE(difference(grown(recipe)), 1e-12);
    if (!some.hidden) continue;
    EXPECT_GE(without(recipe, &TensorState::column_copies), 1e-3);
  }
}

TEST_P(MuonDynamics100Paths, WideningTwiceRetracesTheParent) {
  OptimizerTrainee child = grown(wider(2));
  const Recipe again = grow::Widen(options(3)).recipe(child.model.config(), 3);
  EXPECT_LE(difference(tiny::grown(child, again, kExact)), 1e-12);
}

// Copies of experts are no part of a matrix. (The balance loss grows by their
// number, so it is left out.)
TEST(MuonDynamics100Experts, ExpandingThemRetracesTheParent) {
  constexpr double kRate = 2e-3;
  ModelConfig config = tiny::config({.mixture = true, .gated = true});
  config.num_hidden_layers = 2;
  OptimizerTrainee parent =
      tiny::trained(tiny::model(config, at::kDouble),
                    {.type = OptimizerType::kMuon, .adam_epsilon = 1e-4}, 20,
                    kRate, /*router_aux_loss_coef=*/0);
  const Recipe recipe = grow::ExpandExperts({.factor = 2}).recipe(config, 3);
  OptimizerTrainee child = tiny::grown(parent, recipe, kExact);
  const auto expected = tiny::train(parent, 20, kSteps, kRate, 0);
  EXPECT_LE(tiny::largest_difference(expected,
                                     tiny::train(child, 20, kSteps, kRate, 0)),
            1e-12);
}

// A model folder with its optimizer's state.
void save(const OptimizerTrainee& trainee, const fs::path& folder) {
  save_folder(trainee.model, folder);
  std::vector<NamedTensor> parts;
  OptimizerRows rows;
  const auto& states = trainee.optimizer.states();
  for (size_t row = 0; row < states.size(); ++row) {
    const std::string& name = trainee.model.table()[row].name;
    rows[name] = row_of(states[row]);
    optim::visit_parts(states[row], [&](const char* part, const auto& tensor) {
      if (tensor.defined())
        parts.push_back({fmt::format("{}.{}", part, name), tensor});
    });
  }
  write_safetensors(folder / kOptimizerTensors, parts);
  write_optimizer_rows(folder, rows, "muon");
}

OptimizerTrainee load(const fs::path& folder, const OptimizerPlan& plan) {
  Transformer model = load_model(folder);
  const auto file = OptimizerFile::open(folder);
  std::vector<TensorState> states(model.table().size());
  for (size_t row = 0; row < states.size(); ++row) {
    const std::string& name = model.table()[row].name;
    set_row(states[row], file->rows().at(name));
    optim::visit_parts(states[row], [&](const char* part, at::Tensor& tensor) {
      const at::Tensor read = file->part(part, name);
      if (read.defined()) tensor = read.clone();
    });
  }
  return {std::move(model), Optimizer(plan, std::move(states))};
}

TEST_P(MuonDynamics100Paths, WideningFilesRetracesTheParent) {
  const test::TestFolder base;
  save(*parent_, base / "parent");
  const ModelFile file(base / "parent");
  const Recipe recipe = wider(2);
  const grow::FolderOrder order{
      .weights = {.recipe = recipe, .parents = {&file}}, .state = kExact};
  OutputFolder out(base / "child", false);
  grow_folder(order, plan_folder(order), out);
  EXPECT_LE(difference(load(base / "child", parent_->optimizer.plan())), 1e-12);
}

}  // namespace
}  // namespace annuli::train

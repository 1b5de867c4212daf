#include "annuli/run/run_state.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/core/error.h"
#include "annuli/grow/widen.h"
#include "annuli/parallel/solo.h"
#include "annuli/run/records.h"
#include "tests/cli/program.h"
#include "tests/support/tiny_model.h"

// A state that is saved and loaded is the same, field by field; every field has
// a value of its own.
namespace annuli::run {
namespace {

RunState state_of(const Transformer& model) {
  std::vector<optim::TensorState> rows;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const double x = static_cast<double>(row);
    rows.push_back({.m = model.weight(row) * 2,
                    .v = model.weight(row).square(),
                    .step = static_cast<int64_t>(row) + 3,
                    .lr_multiplier = 2 + x,
                    .eps_multiplier = 3 + x,
                    .weight_decay_multiplier = 4 + x,
                    .row_copies = 1 + static_cast<int64_t>(row),
                    .column_copies = 5});
  }
  const std::string hash = content_hash(model);
  return {
      .phase = 2,
      .step = 17,
      .phase_ended = true,
      .model = tiny::clone(model),
      .optimizer = train::Optimizer(OptimizerPlan{}, std::move(rows)),
      .loader = {5, 19},
      .history = {.bytes = 123, .crc32 = 456},
      .recipe = grow::Widen({.factor = 2, .noise_snr_db = std::nullopt})
                    .recipe(model.config(), 3),
      .control = verify::SymmetryControl{0.375},
      .previous_norm = 1.625,
      .recent_losses = {4, 3.5},
      .rollbacks = 2,
      .after_rollback = true,
      .lr_factor = 0.25,
      .lineage = {lineage_record("initialize", Json::object(), 1, "", hash)}};
}

class RunStateTest : public testing::Test {
 protected:
  SavedRun saved(const RunState& state, const Plan& plan = {}) {
    const fs::path folder = scratch_.path() / "state";
    save_run_state(folder, state, plan, 2, parallel::solo());
    return *load(plan);
  }

  std::optional<SavedRun> load(const Plan& plan = {}, int64_t skip = 0) {
    return load_run_state(scratch_.path() / "state", plan, at::kCPU,
                          parallel::solo(), skip);
  }

  test::ScratchFolder scratch_;
};

TEST_F(RunStateTest, ComesBackAsItWas) {
  const Transformer model =
      tiny::model(tiny::config({.mixture = true, .gated = true}), at::kFloat);
  const RunState state = state_of(model);
  const SavedRun loaded = saved(state);
  const RunState& back = loaded.state;
  EXPECT_EQ(back.phase, 2u);
  EXPECT_EQ(back.step, 17);
  EXPECT_TRUE(back.phase_ended);
  EXPECT_EQ(content_hash(back.model), content_hash(model));
  EXPECT_EQ(back.model.config(), model.config());
  EXPECT_EQ(back.loader, (data::LoaderState{5, 19}));
  EXPECT_EQ(back.history, (train::HistoryMark{123, 456}));
  EXPECT_EQ(grow::to_json(*back.recipe), grow::to_json(*state.recipe));
  EXPECT_EQ(back.control->gradient_difference, 0.375);
  EXPECT_EQ(back.previous_norm, 1.625);
  EXPECT_EQ(back.recent_losses, (std::vector<double>{4, 3.5}));
  EXPECT_EQ(back.rollbacks, 2);
  EXPECT_TRUE(back.after_rollback);
  EXPECT_EQ(back.lr_factor, 0.25);
  EXPECT_EQ(back.lineage, state.lineage);
  ASSERT_EQ(back.optimizer.states().size(), model.table().size());
  for (size_t row = 0; row < model.table().size(); ++row) {
    const optim::TensorState& was = state.optimizer.states()[row];
    const optim::TensorState& is = back.optimizer.states()[row];
    EXPECT_TRUE(at::equal(is.m, was.m)) << row;
    EXPECT_TRUE(at::equal(is.v, was.v)) << row;
    EXPECT_FALSE(is.m_scales.defined());
    EXPECT_EQ(is.step, was.step);
    EXPECT_EQ(is.lr_multiplier, was.lr_multiplier);
    EXPECT_EQ(is.eps_multiplier, was.eps_multiplier);
    EXPECT_EQ(is.weight_decay_multiplier, was.weight_decay_multiplier);
    EXPECT_EQ(is.row_copies, was.row_copies);
    EXPECT_EQ(is.column_copies, was.column_copies);
  }
}

TEST_F(RunStateTest, WhatIsNotThereStaysAway) {
  RunState state = state_of(tiny::model(tiny::config(), at::kFloat));
  state.recipe.reset();
  state.control.reset();
  state.previous_norm.reset();
  const SavedRun loaded = saved(state);
  EXPECT_FALSE(loaded.state.recipe);
  EXPECT_FALSE(loaded.state.control);
  EXPECT_FALSE(loaded.state.previous_norm);
}

TEST_F(RunStateTest, TheModelMultipliesAsThePlanSays) {
  const RunState state = state_of(tiny::model(tiny::config(), at::kFloat));
  Plan plan;
  EXPECT_EQ(saved(state, plan).state.model.numbers().products, at::kFloat);
  plan.precision = Precision::kBf16Mixed;
  EXPECT_EQ(saved(state, plan).state.model.numbers().products, at::kBFloat16);
}

TEST_F(RunStateTest, AnOlderStateIsFoundBehindTheNewest) {
  RunState state = state_of(tiny::model(tiny::config(), at::kFloat));
  const fs::path folder = scratch_.path() / "state";
  EXPECT_FALSE(load());
  for (const int64_t step : {17, 18, 19}) {
    state.step = step;
    save_run_state(folder, state, {}, 2, parallel::solo());
  }
  EXPECT_EQ(load()->state.step, 19);
  const auto older = load({}, 1);
  EXPECT_EQ(older->state.step, 18);
  EXPECT_EQ(older->skipped.size(), 1u);
  EXPECT_FALSE(load({}, 2)) << "two are kept";
}

}  // namespace
}  // namespace annuli::run

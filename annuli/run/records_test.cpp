#include "annuli/run/records.h"

#include <gtest/gtest.h>

#include "annuli/config/plan.h"
#include "annuli/core/file.h"
#include "tests/cli/program.h"
#include "tests/support/tiny_model.h"

// The lines that a run writes, key by key, from numbers of which no two are
// equal.
namespace annuli::run {
namespace {

train::StepRecord dense_step() {
  return {.step = 7,
          .loss = 3.25,
          .grad_norm = 1.5,
          .learning_rate = 2e-3,
          .tokens = 64};
}

TEST(Records, AStepOfADenseModel) {
  Json line = step_json("small", dense_step(), 0.5);
  EXPECT_GT(line.at("peak_memory_bytes"), 0);
  line.erase("peak_memory_bytes");
  const Json expected = {{"type", "step"},   {"phase", "small"},
                         {"step", 7},        {"loss", 3.25},
                         {"grad_norm", 1.5}, {"learning_rate", 2e-3},
                         {"tokens", 64},     {"tokens_per_second", 128.0}};
  EXPECT_EQ(line, expected);
}

TEST(Records, AStepOfAMixtureThatRose) {
  train::StepRecord record = dense_step();
  record.aux_loss = 1.125;
  record.z_loss = 0.75;
  record.loss_rise = 0.625;
  record.load = {{6, 2}, {8, 0}};
  const Json line = step_json("moe", record, 0.5);
  EXPECT_EQ(line.at("loss_rise"), 0.625);
  EXPECT_EQ(line.at("moe_aux_loss"), 1.125);
  EXPECT_EQ(line.at("moe_z_loss"), 0.75);
  EXPECT_EQ(line.at("moe_load_imbalance"), 1.75);  // of 1.5 and 2
  EXPECT_EQ(line.at("dead_experts"), 1);
  EXPECT_EQ(line.at("expert_load"), Json({{6, 2}, {8, 0}}));
}

TEST(Records, AStepSaysHowOftenEachTextWasRead) {
  train::StepRecord record = dense_step();
  EXPECT_FALSE(step_json("small", record, 0.5).contains("epochs"));
  record.epochs = {0.25, 1.5};
  EXPECT_EQ(step_json("small", record, 0.5).at("epochs"), Json({0.25, 1.5}));
}

TEST(Records, AStepThatWasMeasured) {
  train::StepRecord record = dense_step();
  record.measures = {
      .update_ratio = 0.25, .weight_rms = {1.5, 2.5}, .stream_rms = {3.5, 4.5}};
  Json line = step_json("small", record, 0.5);
  EXPECT_EQ(line.at("update_ratio"), 0.25);
  EXPECT_EQ(line.at("weight_rms"), Json({1.5, 2.5}));
  EXPECT_EQ(line.at("stream_rms"), Json({3.5, 4.5}));
  EXPECT_FALSE(line.contains("copies_apart"));
  EXPECT_FALSE(line.contains("update_apart"));
  record.measures->copies_apart = 0.125;
  record.measures->update_apart = 0.0625;
  line = step_json("small", record, 0.5);
  EXPECT_EQ(line.at("copies_apart"), 0.125);
  EXPECT_EQ(line.at("update_apart"), 0.0625);
}

TEST(Records, ABoundaryTellsItsJump) {
  grow::Recipe recipe;
  recipe.op = "widen";
  recipe.arguments = {{"factor", 2}};
  recipe.exact = true;
  Grown grown{.model = tiny::model(tiny::config(), at::kFloat),
              .loss_before = 4.5,
              .loss_after = 4.25,
              .seconds = 3};
  const Json expected = {{"type", "boundary"},
                         {"phase", "wide"},
                         {"operator", "widen"},
                         {"arguments", {{"factor", 2}}},
                         {"exact", true},
                         {"probe_loss_before", 4.5},
                         {"probe_loss_after", 4.25},
                         {"jump", -0.25},
                         {"seconds", 3.0}};
  EXPECT_EQ(boundary_json("wide", recipe, grown), expected);
  EXPECT_EQ(boundary_json("wide", recipe, grown, 0.75).at("copies_apart"),
            0.75);
}

TEST(Records, ARollbackTellsFromWhereToWhere) {
  const RunState to{.step = 4,
                    .model = tiny::model(tiny::config(), at::kFloat),
                    .optimizer = train::Optimizer(OptimizerPlan{}, 0),
                    .rollbacks = 2,
                    .lr_factor = 0.25};
  const Json expected = {{"type", "rollback"},  {"phase", "moe"},
                         {"step", 9},           {"reason", "it rose"},
                         {"to_phase", "dense"}, {"to_step", 4},
                         {"rollbacks", 2},      {"lr_factor", 0.25}};
  EXPECT_EQ(rollback_json("moe", 9, "it rose", "dense", to), expected);
}

TEST(Records, APhaseTellsItsParameters) {
  const ModelConfig config = tiny::config({.mixture = true, .gated = true});
  const ParameterCount count = count_parameters(config);
  ASSERT_GT(count.total, count.active);
  const Json expected = {{"type", "phase"},
                         {"phase", "moe"},
                         {"total_parameters", count.total},
                         {"active_parameters", count.active},
                         {"peak_memory_bytes", 12345},
                         {"proof_seconds", 1.5}};
  EXPECT_EQ(phase_json("moe", config, 12345, 1.5), expected);
}

TEST(Records, VerdictsOfAGrowthBeginAFileAndOthersJoinIt) {
  const test::ScratchFolder scratch;
  const fs::path path = scratch.path() / "moe.json";
  const auto verdicts = [](double measured) {
    return std::vector{verify::at_most("norm", "of all", measured, 1)};
  };
  write_verdicts(path, "after_phase", verdicts(0.25));
  EXPECT_EQ(read_json(path).size(), 1u);
  write_verdicts(path, "growth", verdicts(0.5));
  EXPECT_EQ(read_json(path).size(), 1u) << "what an earlier attempt left goes";
  write_verdicts(path, "after_phase", verdicts(0.75));
  const Json file = read_json(path);
  ASSERT_EQ(file.size(), 2u);
  EXPECT_EQ(file.at("growth").at(0).at("measured"), 0.5);
  EXPECT_EQ(file.at("after_phase").at(0).at("measured"), 0.75);
}

TEST(Records, ALineageKeepsEveryFieldAndCheckpointsLeaveTheTensorsOut) {
  const LineageRecord trained =
      lineage_record("train", {{"max_steps", 3}}, 42, "aa", "bb");
  EXPECT_EQ(trained.op, "train");
  EXPECT_EQ(trained.arguments, Json({{"max_steps", 3}}));
  EXPECT_EQ(trained.seed, 42u);
  EXPECT_EQ(trained.parent, "aa");
  EXPECT_EQ(trained.child, "bb");
  EXPECT_EQ(trained.versions, program_versions());

  grow::Recipe recipe;
  recipe.op = "widen";
  recipe.seed = 7;
  recipe.arguments = {{"factor", 2}};
  recipe.tensors.emplace_back();
  const LineageRecord grown = growth_record(
      recipe, "bb", "cc", {verify::at_most("norm", "of all", 0.5, 1)});
  EXPECT_EQ(grown.op, "widen");
  EXPECT_EQ(grown.seed, 7u);
  EXPECT_EQ(grown.tensors.size(), 1u);
  ASSERT_EQ(grown.verdicts.size(), 1u);
  EXPECT_EQ(grown.verdicts.at(0).at("check"), "norm");

  const Lineage shortened = without_tensor_maps({trained, grown});
  ASSERT_EQ(shortened.size(), 2u);
  EXPECT_EQ(shortened[1].tensors, Json::array());
  EXPECT_EQ(shortened[1].verdicts, grown.verdicts);
}

TEST(Records, TrainingIsToldByWhatChangesItsResult) {
  TrainPlan train;
  train.max_steps = 3;
  train.learning_rate = 2e-3;
  train.batch_size = 4;
  train.gradient_accumulation_steps = 5;
  EXPECT_EQ(train_arguments(train), Json({{"max_steps", 3},
                                          {"learning_rate", 2e-3},
                                          {"batch_size", 4},
                                          {"gradient_accumulation_steps", 5}}));
}

}  // namespace
}  // namespace annuli::run

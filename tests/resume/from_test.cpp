// A plan that starts from a model folder: it grows it before the first step,
// takes up its lineage and its optimizer's state, and can be stopped anywhere.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/core/json.h"
#include "tests/cli/program.h"
#include "tests/resume/run_outcome.h"
#include "tests/support/tiny_model.h"

namespace annuli::test {
namespace {

constexpr int64_t kSteps = 5;  // that the folder's optimizer has made

class FromTest : public testing::Test {
 protected:
  FromTest() : folder_(scratch_.path() / "parent") {
    ModelConfig config = tiny::config({.gated = true});
    config.vocab_size = 300;  // room for bytes
    const Transformer model = tiny::model(config, at::kFloat);
    save_folder(model, folder_,
                {{.op = "initialize", .child = content_hash(model)}});
    std::vector<NamedTensor> moments;
    OptimizerRows rows;
    for (const NamedTensor& weight : named_weights(model)) {
      rows[weight.name].step = kSteps;
      moments.push_back({"m." + weight.name, weight.tensor * 1e-3});
      moments.push_back({"v." + weight.name, weight.tensor.square()});
    }
    write_safetensors(folder_ / kOptimizerTensors, moments);
    write_optimizer_rows(folder_, rows, "adamw");
    write_plan("");
  }

  void write_plan(const std::string& model) {
    std::ofstream(scratch_.path() / "plan.yaml")
        << "name: from\nseed: 1\ndata: {text: [tests/data/village], "
           "sequence_length: 32, validation_fraction: 0.25}\n"
        << "model: {from: " << folder_.string() << model << "}\n"
        << R"(probe: {windows: 4, length: 32, router_tokens: 256}
evaluation: {windows: 2}
save_steps: 2
phases:
  - name: wide
    grow: {widen: {factor: 2, head: fold}}
    train: {max_steps: 3, learning_rate: 1.0e-4, batch_size: 2}
  - name: deep
    grow: {deepen: {add_layers: 1}}
    train: {max_steps: 3, learning_rate: 1.0e-4, batch_size: 2}
)";
  }

  std::vector<std::string> arguments(
      const std::string& out, const std::vector<std::string>& more = {}) {
    return run_arguments(scratch_.file("plan.yaml"), scratch_.path(), out,
                         more);
  }

  Outcome run(const std::string& out) {
    return run_program(arguments(out), scratch_.path());
  }

  ScratchFolder scratch_;
  fs::path folder_;
};

TEST_F(FromTest, ContinuesTheFoldersLineageAndItsOptimizer) {
  const Outcome done = run("run");
  ASSERT_EQ(done.status, 0) << done.out << done.err;
  // Its second moments are those of weights: steps of 1e-7 of them.
  EXPECT_THAT(done.out, testing::HasSubstr("too small a step to tell"));
  const Lineage lineage =
      read_lineage(scratch_.path() / "run" / "lineage.json");
  std::vector<std::string> steps;
  for (const LineageRecord& record : lineage) steps.push_back(record.op);
  EXPECT_THAT(steps, ::testing::ElementsAre("initialize", "widen", "train",
                                            "deepen", "train"));
  EXPECT_EQ(lineage[1].parent, content_hash(ModelFile(folder_)));
  // Saved after the second step of the last phase; the first row is carried.
  const auto state = load_progress(scratch_.path() / "run" / "state");
  EXPECT_EQ(state->at("optimizer").at(0).at("step"), kSteps + 3 + 2);
}

TEST_F(FromTest, KilledAndResumedItEndsTheSame) {
  ASSERT_EQ(run("whole").status, 0);
  const RunOutcome whole = outcome_of(scratch_.path() / "whole");
  for (const size_t lines : {1, 3, 7}) {
    const std::string out = "killed-" + std::to_string(lines);
    run_until(arguments(out), scratch_.path() / out / "training_history.jsonl",
              lines);
    const Outcome done =
        run_program(arguments(out, {"--resume"}), scratch_.path());
    ASSERT_EQ(done.status, 0) << done.err;
    const RunOutcome resumed = outcome_of(scratch_.path() / out);
    EXPECT_EQ(resumed.history, whole.history) << lines;
    EXPECT_EQ(resumed.hashes, whole.hashes) << lines;
  }
}

TEST_F(FromTest, ExportedStateIsTakenUpAgain) {
  ASSERT_EQ(run("run").status, 0);
  const Outcome exported = run_program(
      {"export", scratch_.file("run/state"), "--out", scratch_.file("again")},
      scratch_.path());
  ASSERT_EQ(exported.status, 0) << exported.err;
  const ModelFile again(scratch_.path() / "again");
  EXPECT_EQ(again.config().num_hidden_layers, 4);
  EXPECT_EQ(again.lineage()->back().child, content_hash(again));
  EXPECT_EQ(OptimizerFile::open(again.path())
                ->rows()
                .at("model.embed_tokens.weight")
                .step,
            kSteps + 3 + 2);
  folder_ = again.path();
  write_plan("");
  EXPECT_EQ(run("next").status, 0);
}

TEST_F(FromTest, AFieldThatDoesNotAgreeIsRefused) {
  write_plan(", hidden_size: 99");
  const Outcome refused = run("run");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, testing::HasSubstr("model.hidden_size: found 99"));
  write_plan(", hidden_size: 24, gated: true");
  EXPECT_EQ(run("run").status, 0);
}

TEST_F(FromTest, AMissingFolderIsRefused) {
  folder_ = scratch_.path() / "nowhere";
  write_plan("");
  const Outcome refused = run("run");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err,
              testing::HasSubstr("nowhere: no such file or folder"));
}

}  // namespace
}  // namespace annuli::test

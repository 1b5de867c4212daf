// What a whole run leaves, and how its proofs stop it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/core/json.h"
#include "annuli/train/history.h"
#include "tests/cli/program.h"
#include "tests/resume/run_outcome.h"

namespace annuli::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

class RunTest : public testing::Test {
 protected:
  Outcome run(const std::string& folder,
              const std::vector<std::string>& more = {}) {
    return run_program(
        run_arguments("plans/tiny.yaml", scratch_.path(), folder, more),
        scratch_.path());
  }
  fs::path in(const std::string& folder, const std::string& name) const {
    return scratch_.path() / folder / name;
  }
  ScratchFolder scratch_;
};

TEST_F(RunTest, LeavesEverythingItPromises) {
  const Outcome done = run("all", {"--set", "logging_steps=1"});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(done.err, "");
  EXPECT_THAT(done.out, HasSubstr("step 1/3  loss "));
  EXPECT_THAT(done.out, Not(HasSubstr("ETA ?")));
  for (const char* name :
       {"checkpoints/dense_model.pt", "checkpoints/moe_model_init.pt",
        "checkpoints/moe_model_final.pt", "checkpoints/medium_moe_final.pt",
        "checkpoints/large_moe_final.pt", "plan.yaml", "lineage.json",
        "summary.json", "samples/dense.txt", "samples/large.txt"}) {
    EXPECT_TRUE(fs::exists(in("all", name))) << name;
  }
  std::map<std::string, size_t> lines;
  for (const Json& line :
       train::read_history(in("all", "training_history.jsonl"))) {
    ++lines[line.at("type")];
    if (line.at("type") != "evaluation") continue;
    // `bytes`: a token is a byte, but for one in a document.
    const double bits = line.at("eval_loss").get<double>() / std::log(2.0);
    EXPECT_GE(line.at("bits_per_byte").get<double>(), bits);
    EXPECT_LE(line.at("bits_per_byte").get<double>(), 1.05 * bits);
    EXPECT_EQ(line.at("step"), 3);
  }
  EXPECT_THAT(lines, ElementsAre(Pair("boundary", 3), Pair("evaluation", 4),
                                 Pair("phase", 4), Pair("step", 12)));
}

TEST_F(RunTest, EveryVerdictIsKept) {
  ASSERT_EQ(run("all").status, 0);
  for (const char* phase : {"moe", "medium", "large"}) {
    const Json file =
        read_json(in("all", std::string("verify/") + phase + ".json"));
    ASSERT_TRUE(file.contains("growth")) << phase;
    ASSERT_TRUE(file.contains("after_phase")) << phase;
    // Layers with zero outputs leave nothing to be judged after training.
    EXPECT_EQ(file.at("after_phase").empty(), std::string(phase) == "large");
    for (const auto& [stage, verdicts] : file.items()) {
      for (const Json& verdict : verdicts) {
        EXPECT_TRUE(verdict.at("passed")) << verdict.dump();
      }
    }
  }
}

TEST_F(RunTest, AFinishedRunIsShownAndNotRepeated) {
  ASSERT_EQ(run("all").status, 0);
  const auto lineage = fs::last_write_time(in("all", "lineage.json"));
  const Outcome again = run("all");
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.out.find("peak memory"), std::string::npos);
  EXPECT_EQ(fs::last_write_time(in("all", "lineage.json")), lineage);
  EXPECT_EQ(run("all", {"--force"}).status, 0);
  EXPECT_NE(fs::last_write_time(in("all", "lineage.json")), lineage);
}

// A zero router lets experts die: ties fall at random for one step, then the
// nearly parallel activations of a hardly trained model choose alike. More
// experts and a higher rate make that certain at this size.
TEST_F(RunTest, AZeroRouterFailsUnlessItIsAllowed) {
  const std::vector<std::string> zero = {
      "--set", "phases.moe.grow.upcycle.router=zero",
      "--set", "phases.moe.grow.upcycle.num_experts=16",
      "--set", "phases.moe.train.max_steps=6"};
  const Outcome failed = run("zero", zero);
  EXPECT_EQ(failed.status, 1) << failed.out;
  EXPECT_NE(failed.err.find("router_health failed"), std::string::npos)
      << failed.err;
  EXPECT_NE(failed.err.find("gate.weight"), std::string::npos) << failed.err;
  EXPECT_TRUE(fs::exists(in("zero", "checkpoints/dense_model.pt")));
  EXPECT_FALSE(fs::exists(in("zero", "checkpoints/moe_model_final.pt")));

  std::vector<std::string> allowed = zero;
  allowed.insert(allowed.end(), {"--allow", "router_health", "--resume"});
  const Outcome done = run("zero", allowed);
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.out.find("FAIL (allowed)"), std::string::npos) << done.out;
}

// Copying the last layer as it is changes the function: a budget of nothing
// stops the run at that boundary, with the checkpoint before it in place.
TEST_F(RunTest, ABoundaryAboveItsBudgetStopsTheRun) {
  const Outcome failed =
      run("budget", {"--set", "phases.large.grow.deepen.outputs=keep", "--set",
                     "phases.large.boundary_loss_budget=0", "--set",
                     "phases.large.grow.deepen.add_layers=8"});
  EXPECT_EQ(failed.status, 1) << failed.out;
  EXPECT_NE(failed.err.find("boundary_record failed"), std::string::npos)
      << failed.err;
  EXPECT_TRUE(fs::exists(in("budget", "checkpoints/medium_moe_final.pt")));
}

// What the operator states, what the plan says of all phases, what a phase
// says.
TEST_F(RunTest, TheBudgetIsTheOperatorsUnlessThePlanGivesOne) {
  const auto limit = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--set", "phases.moe.grow.upcycle.drop_ratio=0.5",
                             "--force", "--allow", "router_health"});
    EXPECT_EQ(run("drop", more).status, 0);
    const Json growth = read_json(in("drop", "verify/moe.json")).at("growth");
    EXPECT_EQ(growth.back().at("check"), "boundary_record");
    return growth.back().at("limit").get<double>();
  };
  EXPECT_EQ(limit({}), 2);
  EXPECT_EQ(limit({"--set", "boundary_loss_budget=0.7"}), 0.7);
  EXPECT_EQ(limit({"--set", "boundary_loss_budget=0.7", "--set",
                   "phases.moe.boundary_loss_budget=0.9"}),
            0.9);
}

// In every phase, dense and mixture; with the update inside the backward pass,
// and with clipping (0.05 cuts every step) over two passes.
TEST_F(RunTest, CheckpointingChangesNoBit) {
  const auto outcome = [&](const std::string& folder, const char* whole,
                           bool checkpointing) {
    std::vector<std::string> more;
    for (const char* phase : {"dense", "moe", "medium", "large"}) {
      const std::string train = std::string("phases.") + phase + ".train.";
      more.insert(more.end(),
                  {"--set", train + "gradient_checkpointing=" +
                                (checkpointing ? "true" : "false")});
      if (*whole == 0) continue;
      more.insert(more.end(),
                  {"--set", train + "max_grad_norm=" + whole, "--set",
                   train + "gradient_accumulation_steps=2"});
    }
    const Outcome done = run(folder, more);
    EXPECT_EQ(done.status, 0) << done.err;
    return outcome_of(scratch_.path() / folder);
  };
  for (const char* whole : {"", "0.05"}) {
    SCOPED_TRACE(whole);
    const std::string name = *whole == 0 ? "inside" : "whole";
    const RunOutcome plain = outcome(name, whole, false);
    const RunOutcome again = outcome(name + "_checkpointing", whole, true);
    EXPECT_EQ(again.history, plain.history);
    // The last of a lineage is the trained model; what it records of the plan
    // differs, the models do not.
    EXPECT_EQ(again.hashes, plain.hashes);
  }
}

// The same history; the lineage has the size of micro-batches where it is set.
TEST_F(RunTest, TwoMicroBatchesAreTwoPassesOfAccumulation) {
  const std::string train = "phases.dense.train.";
  const Outcome parts = run("parts", {"--set", train + "micro_batch_size=1"});
  EXPECT_EQ(parts.status, 0) << parts.err;
  const Outcome passes =
      run("passes", {"--set", train + "batch_size=1", "--set",
                     train + "gradient_accumulation_steps=2"});
  EXPECT_EQ(passes.status, 0) << passes.err;
  EXPECT_EQ(outcome_of(scratch_.path() / "parts").history,
            outcome_of(scratch_.path() / "passes").history);
  const auto arguments = [&](const std::string& folder) {
    const Json lineage = read_json(in(folder, "lineage.json"));
    for (const Json& record : lineage.at("records")) {
      if (record.at("operator") == "train") return record.at("arguments");
    }
    return Json();
  };
  EXPECT_EQ(arguments("parts").at("micro_batch_size"), 1);
  EXPECT_FALSE(arguments("passes").contains("micro_batch_size"));
}

TEST_F(RunTest, EvaluatesAndSavesAsOftenAsThePlanSays) {
  ASSERT_EQ(run("often", {"--set", "evaluation.eval_steps=2", "--set",
                          "save_steps=1", "--set", "save_total_limit=3"})
                .status,
            0);
  std::vector<int64_t> evaluated;
  for (const Json& line :
       train::read_history(in("often", "training_history.jsonl"))) {
    if (line.at("type") == "evaluation") evaluated.push_back(line.at("step"));
  }
  EXPECT_THAT(evaluated, ElementsAre(2, 3, 2, 3, 2, 3, 2, 3));
  const auto states = fs::directory_iterator(in("often", "state"));
  EXPECT_EQ(std::distance(begin(states), end(states)), 3);
  // The last phase's end leaves nothing to go on to.
  const auto newest = load_progress(in("often", "state"));
  EXPECT_EQ(newest->at("phase"), 3);
  EXPECT_EQ(newest->at("step"), 2);
  EXPECT_FALSE(newest->at("phase_ended").get<bool>());
}

// A first phase of one step has the same bits either way, and leaves a norm in
// the one and none in the other. The next phase's first step has no step before
// it.
TEST_F(RunTest, APhaseDoesNotClipByTheNormOfThePhaseBefore) {
  const auto hashes = [&](const std::string& clip) {
    std::vector<std::string> more = {
        "--set", "phases.dense.train.max_steps=1",
        "--set", "phases.dense.train.clip=" + clip,
        "--set", "phases.moe.train.clip=previous_norm"};
    for (const char* phase : {"dense", "moe"}) {
      more.insert(more.end(), {"--set", std::string("phases.") + phase +
                                            ".train.max_grad_norm=0.1"});
    }
    EXPECT_EQ(run(clip, more).status, 0);
    return outcome_of(scratch_.path() / clip).hashes;
  };
  EXPECT_EQ(hashes("previous_norm"), hashes("two_pass"));
}

// A phase that does not grow proves nothing of the growth before it.
TEST_F(RunTest, APhaseWithoutGrowthIsTrainedOn) {
  std::ofstream(in("", "plan.yaml"))
      << "name: on\nseed: 1\ndata: {text: [tests/data/village], "
         "sequence_length: 32}\n"
         "model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: "
         "2, "
         "num_attention_heads: 2}\n"
         "probe: {windows: 4, length: 32, router_tokens: 256}\n"
         "evaluation: {windows: 2}\nphases:\n"
         "  - {name: dense, train: {max_steps: 2, learning_rate: 1.0e-3, "
         "batch_size: 2}}\n"
         "  - {name: wide, grow: {widen: {factor: 2, noise_snr_db: 10}}, "
         "train: {max_steps: 2, learning_rate: 1.0e-3, batch_size: 2}}\n"
         "  - {name: more, train: {max_steps: 2, learning_rate: 1.0e-3, "
         "batch_size: 2}}\n";
  const Outcome done = run_program(
      run_arguments(scratch_.file("plan.yaml"), scratch_.path(), "on"),
      scratch_.path());
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_TRUE(fs::exists(in("on", "verify/wide.json")));
  EXPECT_FALSE(fs::exists(in("on", "verify/more.json")));
  EXPECT_THAT(done.out, HasSubstr("phase 3/3  more: 2 x 64"));
  std::vector<std::string> steps;
  for (const LineageRecord& record : read_lineage(in("on", "lineage.json"))) {
    steps.push_back(record.op);
  }
  EXPECT_THAT(steps,
              ElementsAre("initialize", "train", "widen", "train", "train"));
}

TEST_F(RunTest, OneLineOnStandardErrorPerFailure) {
  const Outcome failed = run("bad", {"--set", "phases.0.train.max_stepz=3"});
  EXPECT_EQ(failed.status, 2);
  EXPECT_EQ(std::count(failed.err.begin(), failed.err.end(), '\n'), 1)
      << failed.err;
  EXPECT_NE(failed.err.find("max_steps"), std::string::npos) << failed.err;
}

}  // namespace
}  // namespace annuli::test

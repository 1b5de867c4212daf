// A run that is killed and resumed ends as one that never was: every field of
// the history but times, rates and memory, and every model on the way, bit for
// bit.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/core/rng.h"
#include "tests/resume/resume_fixture.h"

namespace annuli::test {
namespace {

TEST_F(ResumeTest, TheSameSeedGivesTheSameRunAndAnotherDoesNot) {
  const RunOutcome first = whole();
  EXPECT_EQ(run_program(arguments("again"), scratch_.path()).status, 0);
  EXPECT_EQ(outcome_of(scratch_.path() / "again").hashes, first.hashes);
  const std::vector<std::string> other = {"--set", "seed=43"};
  EXPECT_EQ(run_program(arguments("other", other), scratch_.path()).status, 0);
  EXPECT_NE(outcome_of(scratch_.path() / "other").hashes, first.hashes);
}

// Lines of the tiny history: 3 steps, evaluation, phase; then for each of the
// others a boundary and the same. Killed after each kind, in every phase.
TEST_F(ResumeTest, KilledAfterAnyLineWithStatesAtPhaseEnds) {
  const RunOutcome reference = whole();
  for (const size_t lines : {1, 4, 6, 8, 11, 14, 19, 21}) {
    const std::string folder = "killed_" + std::to_string(lines);
    run_until(arguments(folder), history(folder), lines);
    SCOPED_TRACE(folder);
    expect_resumed_equals(reference, folder);
  }
}

TEST_F(ResumeTest, KilledAfterAnyLineWithAStateAfterEveryStep) {
  const RunOutcome reference = whole();
  const std::vector<std::string> often = {"--set", "save_steps=1"};
  for (const size_t lines : {2, 7, 9, 15, 20}) {
    const std::string folder = "killed_" + std::to_string(lines);
    run_until(arguments(folder, often), history(folder), lines);
    SCOPED_TRACE(folder);
    expect_resumed_equals(reference, folder, often);
  }
}

TEST_F(ResumeTest, KilledAtRandomMomentsAgainAndAgain) {
  const RunOutcome reference = whole();
  const CounterRng rng(11, "kills");
  const std::vector<std::string> often = {"--set", "save_steps=1"};
  for (uint64_t round = 0; round < 3; ++round) {
    const std::string folder = "random_" + std::to_string(round);
    std::vector<std::string> resume = often;
    resume.push_back("--resume");
    // A run takes about a second; each round is killed up to three times.
    for (uint64_t kill = 0; kill < 3; ++kill) {
      run_for(arguments(folder, resume),
              static_cast<int>(100 + rng.below(3 * round + kill, 900)));
    }
    SCOPED_TRACE(folder);
    expect_resumed_equals(reference, folder, often);
  }
}

TEST_F(ResumeTest, QuickPlanKilledOnce) {
  plan_ = "plans/quick.yaml";
  const RunOutcome reference = whole();
  const std::vector<std::string> more = {"--set", "save_steps=4"};
  const size_t middle = reference.history.size() / 2;
  EXPECT_TRUE(run_until(arguments("killed", more), history("killed"), middle));
  expect_resumed_equals(reference, "killed", more);
}

TEST_F(ResumeTest, AccumulationClippingAndSchedulesResumeToo) {
  const std::vector<std::string> more = {
      "--set", "phases.moe.train.gradient_accumulation_steps=2",
      "--set", "phases.moe.train.max_grad_norm=0.5",
      "--set", "phases.moe.train.lr_scheduler_type=cosine",
      "--set", "phases.moe.train.warmup_steps=1",
      "--set", "phases.medium.train.lr_scheduler_type=wsd",
      "--set", "phases.medium.grow.optimizer=reset",
      "--set", "phases.medium.train.micro_batch_size=1",
      "--set", "phases.large.grow.dynamics=exact",
      "--set", "save_steps=1"};
  const RunOutcome reference = whole(more);
  for (const size_t lines : {7, 8, 14}) {
    const std::string folder = "killed_" + std::to_string(lines);
    run_until(arguments(folder, more), history(folder), lines);
    SCOPED_TRACE(folder);
    expect_resumed_equals(reference, folder, more);
  }
}

// Every optimizer's state, across growth; the third step of every phase clips
// by the second's norm.
TEST_F(ResumeTest, EveryOptimizerResumes) {
  const std::vector<std::vector<std::string>> optimizers = {
      {"optimizer.type=adamw_8bit"},
      {"optimizer.type=adafactor"},
      // At AdamW's rates three steps hardly part the experts.
      {"optimizer.type=sgd", "optimizer.momentum=0.9",
       "optimizer.state_dtype=bf16", "allow=[router_health]"},
      {"optimizer.state_dtype=bf16"},
      {"optimizer.type=muon", "phases.medium.grow.dynamics=exact"},
      // Proofs and symmetry in bf16 on the way.
      {"optimizer.type=adamw_8bit", "precision=bf16"},
      {"optimizer.type=adamw_8bit", "precision=int8-weights"},
  };
  std::vector<std::vector<std::string>> hashes;
  for (size_t i = 0; i < optimizers.size(); ++i) {
    std::vector<std::string> more = {"--set", "save_steps=1"};
    for (const std::string& setting : optimizers[i]) {
      more.insert(more.end(), {"--set", setting});
    }
    for (const char* phase : {"moe", "medium"}) {
      const std::string train = fmt::format("phases.{}.train.", phase);
      more.insert(more.end(), {"--set", train + "max_grad_norm=0.1", "--set",
                               train + "clip=previous_norm"});
    }
    const std::string whole_folder = fmt::format("whole_{}", i);
    ASSERT_EQ(
        run_program(arguments(whole_folder, more), scratch_.path()).status, 0);
    const RunOutcome reference = outcome_of(scratch_.path() / whole_folder);
    for (const size_t lines : {8, 14, 20}) {
      const std::string folder = fmt::format("killed_{}_{}", i, lines);
      run_until(arguments(folder, more), history(folder), lines);
      SCOPED_TRACE(folder);
      expect_resumed_equals(reference, folder, more);
    }
    hashes.push_back(reference.hashes);
  }
  EXPECT_NE(hashes[0], hashes[1]);
  EXPECT_NE(hashes[0], hashes[3]);
}

// Biases that move, through growth of width and depth; and in bf16 beside
// copies that they close.
TEST_F(ResumeTest, SelectionBiasesResume) {
  for (const char* precision : {"fp32", "bf16"}) {
    std::vector<std::string> more = {
        "--set", "save_steps=1",
        "--set", "phases.moe.grow.upcycle.selection_bias=true",
        "--set", "phases.moe.grow.upcycle.router=centroids",
        "--set", "allow=[router_health]",
        "--set", fmt::format("precision={}", precision)};
    for (const char* phase : {"moe", "medium", "large"}) {
      more.insert(more.end(),
                  {"--set", fmt::format("phases.{}.train.selection_bias_rate="
                                        "0.01",
                                        phase)});
    }
    if (std::string(precision) == "bf16") {
      more.insert(more.end(),
                  {"--set",
                   "phases.large.grow={expand_experts: {num_experts_per_tok: "
                   "2, selection_bias: true}}"});
    }
    const std::string whole_folder = fmt::format("whole_{}", precision);
    const Outcome done =
        run_program(arguments(whole_folder, more), scratch_.path());
    ASSERT_EQ(done.status, 0) << done.err;
    const RunOutcome reference = outcome_of(scratch_.path() / whole_folder);
    for (const size_t lines : {8, 20}) {
      const std::string folder = fmt::format("killed_{}_{}", precision, lines);
      run_until(arguments(folder, more), history(folder), lines);
      SCOPED_TRACE(folder);
      expect_resumed_equals(reference, folder, more);
    }
  }
}

TEST_F(ResumeTest, ATornLastLineIsNoHarm) {
  const RunOutcome reference = whole();
  run_until(arguments("torn"), history("torn"), 8);
  std::ofstream(history("torn"), std::ios::app) << "{\"type\": \"st";
  expect_resumed_equals(reference, "torn");
}

TEST_F(ResumeTest, AChangedPlanIsRefused) {
  run_until(arguments("changed"), history("changed"), 7);
  const Outcome refused = run_program(
      arguments("changed", {"--resume", "--set", "seed=7"}), scratch_.path());
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("the plan has changed: seed 42 -> 7"),
            std::string::npos)
      << refused.err;
}

TEST_F(ResumeTest, AnUnfinishedRunIsNotOverwrittenByAccident) {
  run_until(arguments("begun"), history("begun"), 7);
  const Outcome refused = run_program(arguments("begun"), scratch_.path());
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("--resume"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace annuli::test

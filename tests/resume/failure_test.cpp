// What goes wrong in a run: nothing that was saved is lost, and the plan can
// ask for another try.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/checkpoint/training_state.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/run/run_folder.h"
#include "annuli/train/loss_watch.h"
#include "tests/resume/resume_fixture.h"
#include "tests/support/thread_sanitizer.h"

namespace annuli::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

class FailureTest : public ResumeTest {
 protected:
  Outcome run(const std::string& folder, const Words& more) {
    return run_program(arguments(folder, more), scratch_.path());
  }
  fs::path state(const std::string& folder) const {
    return scratch_.path() / folder / "state";
  }
  // Lines of the history of one type.
  std::vector<Json> lines(const std::string& folder,
                          const std::string& type) const {
    std::vector<Json> found;
    std::ifstream file(history(folder));
    for (std::string line; std::getline(file, line);) {
      Json json = Json::parse(line);
      if (json.at("type") == type) found.push_back(std::move(json));
    }
    return found;
  }
};

// A rate at which the second step's loss is not a number.
const Words kDiverges = {"--set", "phases.moe.train.learning_rate=1.0e+30"};

TEST_F(FailureTest, ALossThatIsNotFiniteKeepsTheStateBefore) {
  const RunOutcome reference = whole();
  const Outcome failed = run("run", kDiverges);
  EXPECT_EQ(failed.status, 1) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("annuli: training step "));
  EXPECT_THAT(failed.err, HasSubstr("not"));
  const auto progress = load_progress(state("run"));
  EXPECT_EQ(progress->at("phase"), 0);
  EXPECT_TRUE(progress->at("phase_ended").get<bool>());
  // With a rate that works, which is a change of a phase that has not begun.
  const Outcome done = run("run", {"--resume"});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_THAT(done.out,
              HasSubstr("the plan has changed: phases.moe.train.learning_rate "
                        "1e+30 -> "));
  EXPECT_EQ(outcome_of(scratch_.path() / "run").hashes, reference.hashes);
}

TEST_F(FailureTest, RollbackTriesALowerRate) {
  Words more = kDiverges;
  more.insert(more.end(), {"--set", "on_failure=rollback", "--set",
                           "rollback_lr_factor=1.0e-33"});
  const Outcome done = run("run", more);
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("ROLLBACK 1 of phase"));
  const auto rollbacks = lines("run", "rollback");
  ASSERT_GE(rollbacks.size(), 1u);
  EXPECT_EQ(rollbacks[0].at("phase"), "moe");
  EXPECT_THAT(rollbacks[0].at("reason").get<std::string>(),
              HasSubstr("training step "));
  EXPECT_EQ(rollbacks[0].at("lr_factor"), 1e-33);
  // The next phase has its own rate again.
  for (const Json& step : lines("run", "step")) {
    if (step.at("phase") == "medium") {
      EXPECT_GT(step.at("learning_rate").get<double>(), 1e-6);
    }
  }
  // Killed in between, it makes the same way again.
  const RunOutcome reference = outcome_of(scratch_.path() / "run");
  for (const size_t count : {8, 9, 11}) {
    const std::string folder = "killed_" + std::to_string(count);
    run_until(arguments(folder, more), history(folder), count);
    expect_resumed_equals(reference, folder, more);
  }
}

// A loss that is a number and lies above those before: by less than a nat,
// which is enough.
TEST_F(FailureTest, ASpikeOfTheLossGoesBack) {
  // Eight losses of a model that hardly changes, and then a step that is far
  // too long.
  const Outcome done =
      run("run", {"--set", "phases.dense.train.max_steps=8", "--set",
                  "phases.dense.train.learning_rate=1.0e-5", "--set",
                  "phases.moe.train.learning_rate=0.615", "--set",
                  "on_failure=rollback", "--set", "rollback_lr_factor=0.001",
                  "--allow", "symmetry_breaking", "--allow", "router_health"});
  ASSERT_EQ(done.status, 0) << done.err;
  const auto rollbacks = lines("run", "rollback");
  ASSERT_EQ(rollbacks.size(), 1u);
  const std::string reason = rollbacks[0].at("reason");
  EXPECT_THAT(reason, HasSubstr("training step "));
  const double rise = std::stod(reason.substr(reason.find(" lies ") + 6));
  EXPECT_GT(rise, train::LossWatch::kLeastRise);
  EXPECT_LT(rise, 1);
  for (const Json& step : lines("run", "step")) {
    EXPECT_FALSE(step.contains("loss_rise")) << step.dump();
  }
}

// A state that was saved after the step that spoilt the weights is given up for
// the one before it.
TEST_F(FailureTest, AStateThatFailsAgainIsGivenUp) {
  Words more = kDiverges;
  more.insert(more.end(),
              {"--set", "on_failure=rollback", "--set",
               "rollback_lr_factor=1.0e-17", "--set", "save_steps=1"});
  const Outcome done = run("run", more);
  ASSERT_EQ(done.status, 0) << done.err;
  const auto rollbacks = lines("run", "rollback");
  ASSERT_EQ(rollbacks.size(), 2u);
  EXPECT_EQ(rollbacks[0].at("to_step"), 1);
  EXPECT_EQ(rollbacks[1].at("to_phase"), "dense");
  EXPECT_EQ(rollbacks[1].at("lr_factor"), 1e-17 * 1e-17);
  const RunOutcome reference = outcome_of(scratch_.path() / "run");
  for (const size_t count : {7, 8, 9}) {
    const std::string folder = "killed_" + std::to_string(count);
    run_until(arguments(folder, more), history(folder), count);
    expect_resumed_equals(reference, folder, more);
  }
}

TEST_F(FailureTest, RollbacksAreBounded) {
  Words more = kDiverges;
  more.insert(more.end(), {"--set", "on_failure=rollback", "--set",
                           "rollback_lr_factor=1", "--set", "max_rollbacks=2"});
  const Outcome failed = run("run", more);
  EXPECT_EQ(failed.status, 1) << failed.out;
  EXPECT_THAT(failed.err, HasSubstr("2 rollbacks have not helped"));
}

TEST_F(FailureTest, NothingSavedIsNoWayBack) {
  const Outcome failed =
      run("run", {"--set", "phases.dense.train.learning_rate=1.0e+30", "--set",
                  "on_failure=rollback"});
  EXPECT_EQ(failed.status, 1) << failed.out;
  EXPECT_THAT(failed.err, HasSubstr("no state was saved to go back to"));
}

TEST_F(FailureTest, ADamagedNewestStateIsNamedAndPassedOver) {
  const Words often = {"--set", "save_steps=1"};
  const RunOutcome reference = whole(often);
  run_until(arguments("run", often), history("run"), 14);
  fs::path newest;
  for (const auto& item : fs::directory_iterator(state("run"))) {
    if (item.path().filename().string()[0] == '.') continue;
    newest = std::max(newest, item.path());
  }
  std::fstream file(newest / "model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-3, std::ios::end);
  file.put('\x55');
  file.close();
  Words more = often;
  more.push_back("--resume");
  const Outcome done = run("run", more);
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_THAT(done.err, HasSubstr("warning: the training state " +
                                  newest.string() + " is damaged"));
  EXPECT_EQ(outcome_of(scratch_.path() / "run").hashes, reference.hashes);
}

TEST_F(FailureTest, ChangesOfTheFutureAreTakenThoseOfThePastAreNot) {
  const Outcome stopped =
      signal_at(arguments("run"), history("run"), 8, SIGTERM, scratch_.path());
  ASSERT_EQ(stopped.status, 128 + SIGTERM);
  const Outcome refused =
      run("run", {"--resume", "--set", "phases.dense.train.max_steps=9"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err,
              HasSubstr("phases.dense.train.max_steps 3 -> 9: what was done so "
                        "far was done without it"));
  const Outcome taken =
      run("run", {"--resume", "--set", "phases.large.train.max_steps=4"});
  ASSERT_EQ(taken.status, 0) << taken.err;
  EXPECT_THAT(taken.out, HasSubstr("that phase has not begun"));
  EXPECT_EQ(lines("run", "step").size(), 13u);
}

TEST_F(FailureTest, ASecondRunOfOneFolderIsRefused) {
  const run::RunFolder held(scratch_.path() / "run", {}, {}, run::Claim::kAdd);
  const Outcome refused = run("run", {});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("another run is writing this folder"));
}

// `bytes` has no tokens for an empty prompt: a plan of another tokenizer, say.
TEST_F(FailureTest, SamplesThatCannotBeMadeEndNoRun) {
  const RunOutcome reference = whole();
  const Outcome done = run("run", {"--set", "samples.prompts=['']"});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(outcome_of(scratch_.path() / "run").hashes, reference.hashes);
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    EXPECT_THAT(done.err,
                HasSubstr(std::string("warning: no samples of phase ") + phase +
                          ": generating: the prompt has no"));
    EXPECT_FALSE(fs::exists(scratch_.path() / "run/samples" /
                            (std::string(phase) + ".txt")));
  }
}

// Text so long that it is killed while it is made: the state is there, and who
// resumes makes the text.
TEST_F(FailureTest, APhaseIsSavedBeforeItsSamples) {
  const RunOutcome reference = whole();
  const fs::path samples = scratch_.path() / "run/samples/dense.txt";
  ASSERT_TRUE(run_until(
      arguments("run", {"--set", "samples.max_new_tokens=1000000"}),
      [&] { return fs::exists(state("run")) && load_progress(state("run")); }));
  EXPECT_TRUE(load_progress(state("run"))->at("phase_ended").get<bool>());
  EXPECT_FALSE(fs::exists(samples));
  expect_resumed_equals(reference, "run");
  EXPECT_EQ(read_file(samples),
            read_file(scratch_.path() / "whole/samples/dense.txt"));
}

// What an earlier attempt at the phase wrote is not taken for this one's.
TEST_F(FailureTest, SamplesAreThoseOfTheModelThatIsKept) {
  whole();
  const fs::path samples = scratch_.path() / "run/samples/dense.txt";
  // The signal may come after the phase, which is then saved as ended, without
  // its samples: then once more.
  const auto stops_within_the_phase = [&] {
    fs::remove_all(scratch_.path() / "run");
    const Outcome stopped = signal_at(arguments("run"), history("run"), 2,
                                      SIGTERM, scratch_.path());
    if (stopped.status != 128 + SIGTERM) return false;
    const auto progress = load_progress(state("run"));
    return progress && progress->at("phase") == 0 &&
           !progress->at("phase_ended").get<bool>();
  };
  int tries = 0;
  while (!stops_within_the_phase() && tries < 20) ++tries;
  ASSERT_LT(tries, 20);
  fs::create_directories(samples.parent_path());
  write_file_atomically(samples, "of another model");
  ASSERT_EQ(run("run", {"--resume"}).status, 0);
  EXPECT_EQ(read_file(samples),
            read_file(scratch_.path() / "whole/samples/dense.txt"));
}

// A disk that is full, as a limit on the size of a file.
TEST_F(FailureTest, AStateThatCannotBeWrittenLeavesTheOneBefore) {
  if (kThreadSanitizer) GTEST_SKIP() << "it would not come to our main()";
  const RunOutcome reference = whole();
  run_until(arguments("run"), history("run"), 8);
  const auto before = load_progress(state("run"));
  const Outcome full = run_program(arguments("run", {"--resume"}),
                                   scratch_.path(), {.file_bytes = 100'000});
  EXPECT_EQ(full.status, 2) << full.err;
  EXPECT_THAT(full.err, HasSubstr("File too large"));
  EXPECT_EQ(load_progress(state("run")), before);
  expect_resumed_equals(reference, "run");
}

}  // namespace
}  // namespace annuli::test

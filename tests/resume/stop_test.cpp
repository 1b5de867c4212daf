// Signals that ask a run to stop: it finishes its step, saves, says how to go
// on, and ends as one that was never stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

#include "annuli/checkpoint/training_state.h"
#include "tests/resume/resume_fixture.h"

namespace annuli::test {
namespace {

using ::testing::HasSubstr;

class StopTest : public ResumeTest {
 protected:
  Outcome stop_at(const std::string& folder, size_t lines, int signal,
                  const std::vector<std::string>& more = {}) {
    return signal_at(arguments(folder, more), history(folder), lines, signal,
                     scratch_.path());
  }
};

// In the first phase, at its end and in the growth after it, in later ones.
TEST_F(StopTest, EverySignalSavesAndSaysHowToGoOn) {
  const RunOutcome reference = whole();
  const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
  const size_t lines[] = {1, 2, 3, 5, 6, 8, 13};
  for (size_t i = 0; i < std::size(lines); ++i) {
    const std::string folder = "stopped_" + std::to_string(lines[i]);
    SCOPED_TRACE(folder);
    const int signal = signals[i % std::size(signals)];
    const Outcome stopped = stop_at(folder, lines[i], signal);
    EXPECT_EQ(stopped.status, 128 + signal) << stopped.err;
    EXPECT_EQ(std::ranges::count(stopped.err, '\n'), 1) << stopped.err;
    EXPECT_THAT(stopped.err, HasSubstr("saved; go on with: annuli run "));
    expect_resumed_equals(reference, folder);
  }
}

TEST_F(StopTest, TheStateIsThatOfTheStepAtHand) {
  const Outcome stopped =
      stop_at("run", 2, SIGTERM, {"--set", "phases.0.train.max_steps=500"});
  EXPECT_EQ(stopped.status, 128 + SIGTERM);
  const auto progress = load_progress(scratch_.path() / "run" / "state");
  ASSERT_TRUE(progress);
  const int64_t step = progress->at("step");
  EXPECT_GE(step, 2);
  EXPECT_LT(step, 500);
  EXPECT_THAT(stopped.err,
              HasSubstr("after step " + std::to_string(step) + " of phase"));
}

TEST_F(StopTest, TheLineThatItPrintsWorks) {
  const RunOutcome reference = whole();
  const Outcome stopped = stop_at("run", 7, SIGTERM);
  const std::string before = "go on with: annuli ";
  std::istringstream words(
      stopped.err.substr(stopped.err.find(before) + before.size()));
  const std::vector<std::string> command(
      std::istream_iterator<std::string>(words), {});
  const Outcome done = run_program(command, scratch_.path());
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(outcome_of(scratch_.path() / "run").hashes, reference.hashes);
}

TEST_F(StopTest, StoppedAgainAndAgainItEndsTheSame) {
  const std::vector<std::string> more = {
      "--set", "phases.moe.train.gradient_accumulation_steps=2",
      "--set", "phases.moe.train.max_grad_norm=0.1",
      "--set", "optimizer.type=adamw_8bit",
      "--set", "precision=bf16-mixed"};
  const RunOutcome reference = whole(more);
  std::vector<std::string> resume = more;
  resume.push_back("--resume");
  for (const size_t lines : {1, 3, 7, 9, 12, 17}) {
    stop_at("run", lines, SIGTERM, resume);
  }
  expect_resumed_equals(reference, "run", more);
}

}  // namespace
}  // namespace annuli::test

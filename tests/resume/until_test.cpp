// A phase that ends once its loss falls no faster.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "tests/resume/resume_fixture.h"

namespace annuli::test {
namespace {

using testing::HasSubstr;

// Nothing falls by a thousand nats per doubling: the phase ends with the first
// fit there is, after 63 steps, for then 32 steps lie behind half of them.
class UntilTest : public ResumeTest {
 protected:
  static constexpr int64_t kFirstFit = 63;

  void SetUp() override {
    std::ofstream text(scratch_.file("x.txt"));
    for (int i = 0; i < 300; ++i) {
      text << "The " << i * i % 97 << " trees of " << i << ".\n\n";
    }
    plan_ = scratch_.file("until.yaml");
    std::ofstream(plan_) << R"(
name: until
tokenizer: bytes
threads: 1
data: {text: [)" << scratch_.file("x.txt")
                         << R"(], sequence_length: 8}
model: {hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1,
        num_attention_heads: 2}
budget: {tokens: 3200}
schedule: {warmup: 3, decay: 20%}
save_steps: 10
logging_steps: 1000
evaluation: {windows: 2}
probe: {windows: 2, length: 8, router_tokens: 32}
phases:
  - name: small
    train: {share: 0.75, learning_rate: 1e-3, batch_size: 2,
            until: {slope: 1000}}
  - name: large
    grow: {deepen: {add_layers: 1}}
    train: {share: 0.25, learning_rate: 1e-3, batch_size: 2}
)";
  }

  std::vector<Json> lines_of(const RunOutcome& run, const char* type) const {
    std::vector<Json> lines;
    for (const Json& line : run.history) {
      if (line.at("type") == type) lines.push_back(line);
    }
    return lines;
  }
};

// The two first steps are the warm-up's, whose losses do not count; their
// operations do.
TEST_F(UntilTest, ThePhaseEndsAndTheNextHasWhatIsLeft) {
  const RunOutcome run = whole();
  const std::vector<Json> ends = lines_of(run, "until");
  ASSERT_EQ(ends.size(), 1);
  EXPECT_EQ(ends[0].at("step"), kFirstFit);
  EXPECT_EQ(ends[0].at("ended"), true);
  EXPECT_GT(ends[0].at("fall_error"), 0.0);
  const std::vector<Json> steps = lines_of(run, "step");
  EXPECT_EQ(steps.size(), 200);
  EXPECT_EQ(steps[kFirstFit - 1].at("phase"), "small");
  EXPECT_EQ(steps[kFirstFit].at("phase"), "large");
  // The decay is that of the run as it went.
  EXPECT_EQ(steps[159].at("learning_rate"), 1e-3);
  EXPECT_LT(steps[160].at("learning_rate"), 1e-3);
  EXPECT_EQ(steps[199].at("learning_rate"), 0.0);
}

TEST_F(UntilTest, AFallThatIsFastEnoughEndsNothing) {
  const RunOutcome run =
      whole({"--set", "phases.small.train.until.slope=1e-9"});
  const std::vector<Json> ends = lines_of(run, "until");
  ASSERT_EQ(ends.size(), 1);
  EXPECT_EQ(ends[0].at("step"), 150);
  EXPECT_EQ(ends[0].at("ended"), false);
  EXPECT_EQ(lines_of(run, "step").size(), 200);
}

TEST_F(UntilTest, KilledAndResumedItEndsTheSame) {
  const RunOutcome reference = whole();
  for (const size_t lines : {33, 64, 65, 66, 68, 70, 150}) {
    const std::string folder = "killed_" + std::to_string(lines);
    SCOPED_TRACE(folder);
    run_until(arguments(folder), history(folder), lines);
    expect_resumed_equals(reference, folder);
  }
}

TEST_F(UntilTest, ProcessesEndItAtOneStep) {
  const std::vector<std::string> parts = {
      "--set", "phases.small.train.micro_batch_size=1", "--set",
      "phases.large.train.micro_batch_size=1"};
  const RunOutcome alone = whole(parts);
  std::vector<std::string> shared = parts;
  shared.insert(shared.end(), {"--processes", "2"});
  const Outcome done =
      run_program(arguments("shared", shared), scratch_.path());
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(outcome_of(scratch_.path() / "shared").history, alone.history);
}

TEST_F(UntilTest, ThePlanSaysThatItMayEndEarly) {
  const Outcome plan =
      run_program({"plan", plan_, "--no-measure"}, scratch_.path());
  ASSERT_EQ(plan.status, 0) << plan.err;
  EXPECT_THAT(plan.out, HasSubstr("at most 150"));
}

}  // namespace
}  // namespace annuli::test

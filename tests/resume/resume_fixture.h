#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/cli/program.h"
#include "tests/resume/run_outcome.h"

namespace annuli::test {

// Runs of one plan in folders of their own.
class ResumeTest : public testing::Test {
 protected:
  std::vector<std::string> arguments(
      const std::string& folder, const std::vector<std::string>& more = {}) {
    return run_arguments(plan_, scratch_.path(), folder, more);
  }

  fs::path history(const std::string& folder) const {
    return scratch_.path() / folder / "training_history.jsonl";
  }

  // The uninterrupted run.
  RunOutcome whole(const std::vector<std::string>& more = {}) {
    const Outcome done = run_program(arguments("whole", more), scratch_.path());
    EXPECT_EQ(done.status, 0) << done.err;
    return outcome_of(scratch_.path() / "whole");
  }

  // Goes on with the run in `folder`, which must end as the whole one did.
  void expect_resumed_equals(const RunOutcome& whole, const std::string& folder,
                             std::vector<std::string> more = {}) {
    more.push_back("--resume");
    const Outcome done = run_program(arguments(folder, more), scratch_.path());
    ASSERT_EQ(done.status, 0) << done.err;
    const RunOutcome resumed = outcome_of(scratch_.path() / folder);
    EXPECT_EQ(resumed.history, whole.history);
    EXPECT_EQ(resumed.hashes, whole.hashes);
  }

  std::string plan_ = "plans/tiny.yaml";
  ScratchFolder scratch_;
};

}  // namespace annuli::test

// A phase that does not train all of its model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/json.h"
#include "tests/resume/resume_fixture.h"

namespace annuli::test {
namespace {

using testing::HasSubstr;

class FreezeTest : public ResumeTest {
 protected:
  const std::vector<std::string> parent_ = {
      "--set", "phases.large.init_checkpoint=large_init.pt", "--set",
      "phases.large.train.freeze={parent: true}", "--set", "save_steps=1"};

  Json verdict_of(const std::string& folder, const std::string& phase) const {
    const Json stages =
        read_json(scratch_.path() / folder / "verify" / (phase + ".json"));
    for (const Json& verdict : stages.at("after_phase")) {
      if (verdict.at("check") == "frozen_entries") return verdict;
    }
    return {};
  }
};

// The last layer is the new one; what is around the layers was there before.
TEST_F(FreezeTest, TheParentOfADeepenedModelStaysAsItIs) {
  whole(parent_);
  EXPECT_EQ(verdict_of("whole", "large").at("passed"), true);
  const fs::path checkpoints = scratch_.path() / "whole" / "checkpoints";
  const ModelFile before(checkpoints / "large_init.pt");
  const ModelFile after(checkpoints / "large_moe_final.pt");
  int changed = 0;
  for (const TensorSpec& spec : tensor_table(after.config())) {
    const bool is_same = before.copy(spec.name).equal(after.copy(spec.name));
    EXPECT_TRUE(is_same || spec.layer == 2) << spec.name;
    changed += is_same ? 0 : 1;
  }
  EXPECT_GT(changed, 0);
}

TEST_F(FreezeTest, KilledAndResumedItEndsTheSame) {
  const RunOutcome reference = whole(parent_);
  for (const size_t lines : {18, 19, 20, 21}) {
    const std::string folder = "killed_" + std::to_string(lines);
    SCOPED_TRACE(folder);
    run_until(arguments(folder, parent_), history(folder), lines);
    expect_resumed_equals(reference, folder, parent_);
    EXPECT_EQ(verdict_of(folder, "large").at("passed"), true);
  }
}

TEST_F(FreezeTest, WhatThawsIsTrainedFromThenOn) {
  std::vector<std::string> thaw = parent_;
  thaw[3] = "phases.large.train.freeze={parent: true, unfreeze_after: 2}";
  const RunOutcome reference = whole(thaw);
  EXPECT_TRUE(verdict_of("whole", "large").is_null());
  for (const size_t lines : {19, 20, 21}) {
    const std::string folder = "thawed_" + std::to_string(lines);
    SCOPED_TRACE(folder);
    run_until(arguments(folder, thaw), history(folder), lines);
    expect_resumed_equals(reference, folder, thaw);
  }
}

TEST_F(FreezeTest, WhatCannotBeFrozenIsRefused) {
  const std::pair<const char*, const char*> kCases[] = {
      {"{parent: true}", "found it in a phase without growth"},
      {"{}", "found nothing, expected parent, parts, layers or experts"},
      {"{layers: [2]}", "found 2, expected a number below 2, the layers"},
      {"{experts: [0]}", "found 0, expected a number below 0, the experts"},
      {"{layers: [0], unfreeze_after: 4}", "expected at most max_steps, 3"},
      {"{parts: [attention, feed-forward, embedding, gains]}",
       "found every tensor named, expected some to train"},
  };
  for (const auto& [freeze, words] : kCases) {
    const Outcome refused =
        run_program(arguments("refused", {"--set",
                                          "phases.dense.train.freeze=" +
                                              std::string(freeze)}),
                    scratch_.path());
    EXPECT_EQ(refused.status, 2) << freeze;
    EXPECT_THAT(refused.err, HasSubstr(words)) << freeze;
  }
}

}  // namespace
}  // namespace annuli::test

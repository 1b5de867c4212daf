// Runs whose text comes otherwise than in windows of one length, drawn at
// random from one text: documents apart, epochs, mixtures, phases with their
// own length.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "tests/resume/resume_fixture.h"

namespace annuli::test {
namespace {

using testing::HasSubstr;

class WindowsTest : public ResumeTest {
 protected:
  static std::vector<std::string> settings(
      const std::vector<std::string>& fields) {
    std::vector<std::string> words = {"--set", "save_steps=1"};
    for (const std::string& field : fields) {
      words.insert(words.end(), {"--set", field});
    }
    return words;
  }

  // Each phase has another way to make a step.
  const std::vector<std::string> ways_ = {
      "phases.dense.train.gradient_accumulation_steps=2",
      "phases.moe.train.micro_batch_size=1",
      "phases.medium.train.gradient_checkpointing=true",
      "phases.medium.train.sequence_length=24",
      "phases.large.train.sequence_length=48"};

  std::vector<std::string> masked() const {
    std::vector<std::string> fields = ways_;
    fields.insert(fields.end(),
                  {"data.document_mask=true", "data.order=epochs"});
    return settings(fields);
  }
  std::vector<std::string> mixed() const {
    std::vector<std::string> fields = ways_;
    fields.insert(fields.end(),
                  {"data.text=[]", "data.order=epochs",
                   "data.mixture=[{text: ['tests/data/village/[a-f]*.txt'], "
                   "weight: 3}, {text: ['tests/data/village/[g-z]*.txt'], "
                   "weight: 1}]"});
    return settings(fields);
  }

  void expect_resumes(const std::vector<std::string>& words) {
    const RunOutcome reference = whole(words);
    for (const size_t lines : {7, 14, 20}) {
      const std::string folder = "killed_" + std::to_string(lines);
      SCOPED_TRACE(folder);
      run_until(arguments(folder, words), history(folder), lines);
      expect_resumed_equals(reference, folder, words);
    }
  }
};

TEST_F(WindowsTest, DocumentsAndEpochsResume) { expect_resumes(masked()); }

TEST_F(WindowsTest, AMixtureResumes) { expect_resumes(mixed()); }

TEST_F(WindowsTest, ProcessesAndShardsGiveTheSame) {
  std::vector<std::string> words = masked();
  for (const char* phase : {"dense", "moe", "medium"}) {
    words.insert(words.end(), {"--set", std::string("phases.") + phase +
                                            ".train.micro_batch_size=1"});
  }
  words.insert(words.end(), {"--set", "phases.large.train.batch_size=2",
                             "--set", "phases.large.train.micro_batch_size=1"});
  const RunOutcome alone = whole(words);
  for (const char* shard : {"none", "full"}) {
    SCOPED_TRACE(shard);
    std::vector<std::string> shared = words;
    shared.insert(shared.end(), {"--processes", "2", "--set",
                                 std::string("parallel.shard=") + shard});
    const Outcome done = run_program(arguments(shard, shared), scratch_.path());
    ASSERT_EQ(done.status, 0) << done.err;
    const RunOutcome outcome = outcome_of(scratch_.path() / shard);
    EXPECT_EQ(outcome.hashes, alone.hashes);
    EXPECT_EQ(outcome.history, alone.history);
  }
}

TEST_F(WindowsTest, TheHistoryTellsOfEpochsLengthsAndTexts) {
  const RunOutcome outcome = whole(mixed());
  std::vector<int64_t> tokens;
  std::vector<double> epochs;
  for (const Json& line : outcome.history) {
    if (line.at("type") == "step") {
      tokens.push_back(line.at("tokens"));
      ASSERT_EQ(line.at("epochs").size(), 2u);
      epochs.push_back(line.at("epochs")[0]);
    }
    if (line.at("type") != "evaluation") continue;
    const std::vector<double> by_text = line.at("eval_loss_by_text");
    ASSERT_EQ(by_text.size(), 2u);
    EXPECT_DOUBLE_EQ(line.at("eval_loss").get<double>(),
                     0.75 * by_text[0] + 0.25 * by_text[1]);
  }
  EXPECT_THAT(tokens, testing::ElementsAre(128, 128, 128, 64, 64, 64, 48, 48,
                                           48, 48, 48, 48));
  // They begin anew where the length changes: in the last two phases.
  EXPECT_GT(epochs[5], epochs[2]);
  EXPECT_LT(epochs[6], epochs[5]);
  EXPECT_LT(epochs[9], epochs[8]);
}

// Losses move, and so does everything after them; proofs hold all the same.
TEST_F(WindowsTest, TheMaskChangesTheRun) {
  const RunOutcome plain = whole();
  const std::vector<std::string> words = {"--set", "data.document_mask=true"};
  const Outcome done = run_program(arguments("mask", words), scratch_.path());
  ASSERT_EQ(done.status, 0) << done.err;
  const RunOutcome with_mask = outcome_of(scratch_.path() / "mask");
  EXPECT_NE(plain.hashes.back(), with_mask.hashes.back());
  EXPECT_EQ(plain.hashes.front(), with_mask.hashes.front());

  // The checkpoint's loss, by the verb, on the plan's windows.
  const std::string model =
      (scratch_.path() / "mask/checkpoints/dense_model.pt").string();
  const auto loss = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "evaluate",          model, "--text", "tests/data/village", "--json",
        "--sequence-length", "64"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome evaluated = run_program(arguments, scratch_.path());
    EXPECT_EQ(evaluated.status, 0) << evaluated.err;
    return Json::parse(evaluated.out).at("loss").get<double>();
  };
  EXPECT_NE(loss({}), loss({"--document-mask"}));
}

TEST_F(WindowsTest, APlanOfAMixtureIsRefusedBesideText) {
  std::vector<std::string> words = mixed();
  std::erase(words, "data.text=[]");
  words.erase(std::ranges::find(words, "data.order=epochs") - 1);
  const Outcome done = run_program(arguments("both", words), scratch_.path());
  EXPECT_EQ(done.status, 2);
  EXPECT_THAT(done.err, HasSubstr("data.mixture: found beside data.text"));
}

}  // namespace
}  // namespace annuli::test

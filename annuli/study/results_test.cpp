#include "annuli/study/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli::study {
namespace {

namespace fs = std::filesystem;

class ResultsFile : public testing::Test {
 protected:
  fs::path file() const { return folder_ / "kept" / "results.jsonl"; }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

Result result(double loss) {
  return {.arm = "stack",
          .seed = 3,
          .rate = 2e-3,
          .point = 0.5,
          .plan_hash = "abc",
          .flops = 1e9,
          .source_flops = 2.5e8,
          .tokens = 4096,
          .bits_per_byte = loss,
          .seconds = 12.5,
          .session = {{"threads", 2}}};
}

TEST_F(ResultsFile, IsReadBackAsItWas) {
  Results(file()).add(result(1.75));
  const Results again(file());
  const Result* found = again.find("stack", "abc");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->seed, 3);
  EXPECT_EQ(found->rate, 2e-3);
  EXPECT_EQ(found->point, 0.5);
  EXPECT_EQ(found->flops, 1e9);
  EXPECT_EQ(found->source_flops, 2.5e8);
  EXPECT_EQ(found->tokens, 4096);
  EXPECT_EQ(found->bits_per_byte, 1.75);
  EXPECT_EQ(found->seconds, 12.5);
  EXPECT_EQ(found->session, Json({{"threads", 2}}));
  EXPECT_EQ(again.find("stack", "abd"), nullptr);
  EXPECT_EQ(again.find("scratch", "abc"), nullptr);
}

TEST_F(ResultsFile, KeepsWhatWasThere) {
  Results(file()).add(result(1.75));
  Result other = result(1.5);
  other.plan_hash = "def";
  Results(file()).add(other);
  const Results again(file());
  EXPECT_NE(again.find("stack", "abc"), nullptr);
  EXPECT_NE(again.find("stack", "def"), nullptr);
}

TEST_F(ResultsFile, AFailureHasNoLoss) {
  Result failed = result(0);
  failed.bits_per_byte.reset();
  failed.failure = "the loss is nan";
  Results(file()).add(failed);
  const Results again(file());
  EXPECT_FALSE(again.find("stack", "abc")->bits_per_byte.has_value());
  EXPECT_EQ(again.find("stack", "abc")->failure, "the loss is nan");
}

TEST_F(ResultsFile, ALineOfSomethingElseIsRefused) {
  fs::create_directories(file().parent_path());
  write_file_atomically(file(), "{\"arm\": \"stack\"}\n");
  try {
    const Results results(file());
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("found a line that is none"));
  }
}

}  // namespace
}  // namespace annuli::study

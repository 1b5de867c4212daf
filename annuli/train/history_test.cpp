#include "annuli/train/history.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

class HistoryTest : public testing::Test {
 protected:
  // A name of its own: tests run side by side.
  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("history_") +
       testing::UnitTest::GetInstance()->current_test_info()->name() +
       ".jsonl");
  void SetUp() override { std::filesystem::remove(path_); }
};

TEST_F(HistoryTest, CutsBackToTheRememberedLength) {
  int64_t remembered = 0;
  {
    History history(path_, 0);
    history.append({{"step", 1}});
    remembered = history.bytes();
    history.append({{"step", 2}});
  }
  EXPECT_EQ(read_history(path_).size(), 2u);
  History history(path_, remembered);
  history.append({{"step", 20}});
  const auto records = read_history(path_);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0]["step"], 1);
  EXPECT_EQ(records[1]["step"], 20);
}

TEST_F(HistoryTest, LeavesOutATornLastLine) {
  { History(path_, 0).append({{"step", 1}}); }
  std::ofstream(path_, std::ios::app) << "{\"step\": 2";
  EXPECT_EQ(read_history(path_).size(), 1u);
}

TEST_F(HistoryTest, RefusesAFileShorterThanRemembered) {
  { History(path_, 0).append({{"step", 1}}); }
  EXPECT_THROW(History(path_, 1000), UserError);
}

TEST_F(HistoryTest, NamesTheLineThatIsNotJson) {
  std::ofstream(path_) << "{\"step\": 1}\nnonsense\n";
  EXPECT_THROW(read_history(path_), UserError);
}

}  // namespace
}  // namespace annuli::train

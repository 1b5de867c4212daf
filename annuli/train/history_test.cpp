#include "annuli/train/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli::train {
namespace {

using testing::HasSubstr;

class HistoryTest : public testing::Test {
 protected:
  const test::TestFolder folder_;
  const std::filesystem::path path_ = folder_ / "history.jsonl";
};

TEST_F(HistoryTest, CutsBackToTheRememberedLength) {
  HistoryMark remembered;
  {
    History history(path_);
    history.append({{"step", 1}});
    remembered = history.mark();
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

TEST_F(HistoryTest, EveryLineIsARecord) {
  {
    History history(path_);
    for (int step = 1; step <= 4; ++step) history.append({{"step", step}});
    EXPECT_NO_THROW(history.sync());
  }
  const auto records = read_history(path_);
  ASSERT_EQ(records.size(), 4u);
  for (int step = 1; step <= 4; ++step) {
    EXPECT_EQ(records[step - 1].at("step"), step);
  }
}

TEST_F(HistoryTest, LeavesOutATornLastLine) {
  { History(path_).append({{"step", 1}}); }
  std::ofstream(path_, std::ios::app) << "{\"step\": 2";
  EXPECT_EQ(read_history(path_).size(), 1u);
}

TEST_F(HistoryTest, RefusesAFileShorterThanRemembered) {
  { History(path_).append({{"step", 1}}); }
  EXPECT_THROW(History(path_, {.bytes = 1000}), UserError);
}

TEST_F(HistoryTest, RefusesAFileThatHasChangedBeforeTheMark) {
  HistoryMark mark;
  {
    History history(path_);
    history.append({{"step", 1}});
    mark = history.mark();
    history.append({{"step", 2}});
  }
  const auto flip = [&](int64_t place) {
    std::fstream file(path_, std::ios::in | std::ios::out);
    file.seekp(place);
    file.put('X');
  };
  flip(mark.bytes + 3);
  EXPECT_NO_THROW(require_unchanged(path_, mark));
  flip(mark.bytes - 3);
  EXPECT_THROW(require_unchanged(path_, mark), UserError);
  EXPECT_THROW(History(path_, mark), UserError);
}

// A mark that was gone back to goes on as one that never was beyond.
TEST_F(HistoryTest, MarksGoOnFromAMark) {
  HistoryMark first, second;
  {
    History history(path_);
    history.append({{"step", 1}});
    first = history.mark();
    history.append({{"step", 2}});
    second = history.mark();
  }
  History history(path_, first);
  history.append({{"step", 2}});
  EXPECT_EQ(history.mark(), second);
}

std::string refusal(const std::function<void()>& of) {
  try {
    of();
  } catch (const UserError& error) {
    return error.what();
  }
  return "none";
}

TEST_F(HistoryTest, NamesTheLineThatIsNotJson) {
  const auto read = [&] { read_history(path_); };
  std::ofstream(path_) << "{\"step\": 1}\nnonsense\n";
  EXPECT_THAT(refusal(read), HasSubstr("line 2 is not JSON"));
  std::ofstream(path_) << std::string(200'000, '[') << '\n';
  EXPECT_THAT(refusal(read), HasSubstr("line 1 is not JSON"));
}

TEST_F(HistoryTest, SaysWhatKeepsItFromBeingWritten) {
  EXPECT_THAT(refusal([&] { History(path_ / "below"); }),
              HasSubstr("opening the history"));
  // Opens, and cannot be cut.
  EXPECT_THAT(refusal([] { History("/dev/full"); }),
              HasSubstr("cutting the history /dev/full back to 0 bytes"));
}

// A file that may not grow, as a full disk: the record is refused and not
// counted.
TEST_F(HistoryTest, ARecordThatDoesNotFitIsRefused) {
  History history(path_);
  history.append({{"step", 1}});
  const HistoryMark mark = history.mark();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{static_cast<rlim_t>(mark.bytes) + 4, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string said = refusal([&] {
    history.append({{"step", 2}, {"loss", 3.5}});
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_THAT(said, HasSubstr("writing the history"));
  EXPECT_EQ(history.mark(), mark);
  EXPECT_EQ(read_history(path_).size(), 1u) << "four bytes of a line are torn";
}

}  // namespace
}  // namespace annuli::train

#include "annuli/watch/history_tail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>

#include "annuli/core/error.h"
#include "annuli/report/small_run_for_tests.h"

namespace annuli::watch {
namespace {

using State = HistoryTail::State;
using testing::ElementsAre;
using testing::IsEmpty;
using Lines = std::vector<std::string>;

class Tail : public testing::Test {
 protected:
  void put(const std::string& text) { run_.write_history(text); }
  void append(const std::string& text) {
    std::ofstream(run_.history(), std::ios::app | std::ios::binary) << text;
  }
  Lines read() {
    Lines lines;
    tail_.read([&](std::string_view line) { lines.emplace_back(line); });
    return lines;
  }

  report::SmallRun run_;
  HistoryTail tail_{run_.history()};
};

TEST_F(Tail, GivesEachLineOnce) {
  put("one\ntwo\n");
  EXPECT_EQ(tail_.look(), State::kMore);
  EXPECT_THAT(read(), ElementsAre("one", "two"));
  EXPECT_EQ(tail_.look(), State::kSame);
  append("three\n");
  EXPECT_EQ(tail_.look(), State::kMore);
  EXPECT_THAT(read(), ElementsAre("three"));
  EXPECT_EQ(tail_.lines_read(), 3);
}

TEST_F(Tail, ALineWithoutAnEndWaits) {
  put("one\ntw");
  tail_.look();
  EXPECT_THAT(read(), ElementsAre("one"));
  EXPECT_TRUE(tail_.is_torn());
  append("o\n");
  EXPECT_EQ(tail_.look(), State::kMore);
  EXPECT_THAT(read(), ElementsAre("two"));
  EXPECT_FALSE(tail_.is_torn());
}

TEST_F(Tail, AFileThatIsNotThereYet) {
  EXPECT_EQ(tail_.look(), State::kSame);
  EXPECT_THAT(read(), IsEmpty());
  put("one\n");
  EXPECT_EQ(tail_.look(), State::kMore);
  EXPECT_THAT(read(), ElementsAre("one"));
}

TEST_F(Tail, AFileThatWasCutBackIsReadAnew) {
  put("one\ntwo\n");
  tail_.look();
  read();
  fs::resize_file(run_.history(), 4);
  EXPECT_EQ(tail_.look(), State::kAnew);
  EXPECT_THAT(read(), ElementsAre("one"));
  append("three\n");
  EXPECT_EQ(tail_.look(), State::kMore);
  EXPECT_THAT(read(), ElementsAre("three"));
}

TEST_F(Tail, SoIsOneThatHasGrownBeyondItsOldSizeSince) {
  put("one\ntwo\n");
  tail_.look();
  read();
  put("one\nTWO\nthree\n");
  EXPECT_EQ(tail_.look(), State::kAnew);
  EXPECT_THAT(read(), ElementsAre("one", "TWO", "three"));
}

TEST_F(Tail, SoIsOneOfTheSameSize) {
  put("one\ntwo\n");
  tail_.look();
  read();
  put("one\nTWO\n");
  EXPECT_EQ(tail_.look(), State::kAnew);
}

TEST_F(Tail, SoIsAnotherFileOfThatName) {
  put("one\n");
  tail_.look();
  read();
  run_.write("other", "one\ntwo\n");
  fs::rename(run_.folder() / "other", run_.history());
  EXPECT_EQ(tail_.look(), State::kAnew);
  EXPECT_THAT(read(), ElementsAre("one", "two"));
}

TEST_F(Tail, AFileThatIsRemoved) {
  put("one\n");
  tail_.look();
  read();
  fs::remove(run_.history());
  EXPECT_EQ(tail_.look(), State::kAnew);
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(Tail, WhatIsCutBackToWhereItWasReadIsNotReadAnew) {
  put("one\n");
  tail_.look();
  read();
  append("tw");
  tail_.look();
  read();
  fs::resize_file(run_.history(), 4);
  EXPECT_EQ(tail_.look(), State::kMore);
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(Tail, ALineThatIsNotTakenStaysUnread) {
  put("one\nbad\ntwo\n");
  tail_.look();
  Lines lines;
  EXPECT_THROW(tail_.read([&](std::string_view line) {
    if (line == "bad") throw std::runtime_error("bad");
    lines.emplace_back(line);
  }),
               std::runtime_error);
  EXPECT_THAT(lines, ElementsAre("one"));
  EXPECT_THAT(read(), ElementsAre("bad", "two"));
}

TEST_F(Tail, LinesAcrossPiecesAreWhole) {
  Lines lines;
  std::string text;
  for (int i = 0; i < 5; ++i) {
    lines.emplace_back(700'000, static_cast<char>('a' + i));
    text += lines.back() + "\n";
  }
  put(text);
  tail_.look();
  EXPECT_EQ(read(), lines);
  EXPECT_EQ(tail_.bytes_read(), std::ssize(text));
  // What is remembered of them tells a file that has changed since.
  text[text.size() - 3000] = '!';
  put(text + "more\n");
  EXPECT_EQ(tail_.look(), State::kAnew);
}

TEST_F(Tail, ALongFileIsNoLongLine) {
  const std::string line(1 << 20, 'x');
  std::string text;
  for (int i = 0; i < 40; ++i) text += line + "\n";
  put(text);
  tail_.look();
  EXPECT_EQ(read().size(), 40u);
}

TEST_F(Tail, ALineWithoutEndIsRefused) {
  put(std::string(3 * HistoryTail::kLongestLine, 'x'));
  tail_.look();
  EXPECT_THROW(read(), UserError);
}

TEST_F(Tail, AFolderInItsPlaceIsNoFile) {
  fs::create_directory(run_.history());
  EXPECT_EQ(tail_.look(), State::kSame);
  EXPECT_THAT(read(), IsEmpty());
}

}  // namespace
}  // namespace annuli::watch

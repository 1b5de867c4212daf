// `annuli inspect` of a run that goes on, that was stopped, and that has ended.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "program.h"
#include "tiny_run.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class InspectRun : public ::testing::Test {
 protected:
  InspectRun() { fs::copy(tiny_run(), folder_, fs::copy_options::recursive); }
  // The tiny run as it stood after the second step of its second phase.
  void go_back() {
    fs::remove(folder_ / "summary.json");
    fs::remove_all(folder_ / "state");
    std::ifstream whole(tiny_run() / "training_history.jsonl");
    std::ofstream cut(folder_ / "training_history.jsonl");
    for (std::string line; std::getline(whole, line);) {
      cut << line << '\n';
      const json record = json::parse(line);
      if (record.value("phase", "") == "moe" && record.value("step", 0) == 2) {
        break;
      }
    }
    cut << R"({"type": "st)";  // being written
  }
  std::string inspect() {
    const Outcome outcome =
        run_program({"inspect", folder_.string()}, scratch_.path());
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.out;
  }
  json now() {
    const Outcome outcome =
        run_program({"inspect", folder_.string(), "--json"}, scratch_.path());
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return json::parse(outcome.out).at("now");
  }

  ScratchFolder scratch_;
  fs::path folder_ = scratch_.path() / "run";
};

TEST_F(InspectRun, AFinishedRunIsNeitherRunningNorStopped) {
  EXPECT_THAT(inspect(), AllOf(HasSubstr("finished"), Not(HasSubstr("running")),
                               Not(HasSubstr("stopped"))));
}

TEST_F(InspectRun, ARunThatGoesOnSaysWhereItIsAndHowLongItTakes) {
  go_back();
  const int lock = ::open((folder_ / ".lock").c_str(), O_CREAT | O_RDWR, 0644);
  ASSERT_GE(lock, 0);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  EXPECT_THAT(inspect(),
              AllOf(HasSubstr("running     phase moe, step 2 of 3, loss "),
                    HasSubstr(" a step, "), HasSubstr(" left in the phase; ")));
  const json state = now();
  EXPECT_EQ(state.at("process"), ::getpid());
  // One step is left, as long as the two of this phase in the mean.
  EXPECT_EQ(state.at("seconds_left"), state.at("step_seconds"));
  EXPECT_GT(state.at("step_seconds"), 0);
  ::close(lock);
}

TEST_F(InspectRun, ARunThatWasKilledSaysWhereItStopped) {
  go_back();
  EXPECT_THAT(inspect(),
              AllOf(HasSubstr("stopped     phase moe, step 2 of 3, loss "),
                    Not(HasSubstr("left in the phase"))));
  EXPECT_TRUE(now().at("process").is_null());
}

TEST_F(InspectRun, WhatFailedIsNamed) {
  const fs::path path = folder_ / "verify" / "moe.json";
  json verdicts = json::parse(std::ifstream(path));
  verdicts["growth"][3]["passed"] = false;
  verdicts["growth"][3]["check"] = "odd_check";
  std::ofstream(path) << verdicts;
  EXPECT_THAT(inspect(), HasSubstr("failed      odd_check, phase moe: "));
}

TEST_F(InspectRun, AHistoryOfAnotherKindIsRefused) {
  go_back();
  std::ofstream(folder_ / "training_history.jsonl")
      << R"({"type": "step", "phase": "moe", "step": 1, "loss": 2})" << '\n';
  const Outcome outcome =
      run_program({"inspect", folder_.string()}, scratch_.path());
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("expected the history of a run"));
}

}  // namespace
}  // namespace annuli::test

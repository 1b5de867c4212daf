#include "annuli/parallel/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/parallel/cores.h"
#include "annuli/parallel/peers.h"

namespace annuli::parallel {
namespace {

namespace fs = std::filesystem;
using test::Ended;
using test::Environment;
using test::Program;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

// Runs a scenario in processes that the launcher starts, with a folder for
// temporary files that must be empty at the end.
void expect_one_line(const Ended& ended) {
  EXPECT_EQ(std::ranges::count(ended.err, '\n'), 1) << ended.err;
}

class Launcher : public testing::Test {
 protected:
  Program start(const std::string& scenario, int64_t processes,
                Environment environment = {}) const {
    environment["TMPDIR"] = folder_.string();
    return Program(
        test::peer(fmt::format("{} --processes {}", scenario, processes)),
        environment);
  }

  Ended run(const std::string& scenario, int64_t processes) const {
    Ended ended = start(scenario, processes).wait();
    EXPECT_TRUE(fs::is_empty(folder_));
    return ended;
  }

  // What is printed of a run that ends with `status`: one line.
  std::string failure_of(const std::string& scenario, int64_t processes,
                         int status) const {
    const Ended ended = run(scenario, processes);
    EXPECT_EQ(ended.status, status);
    expect_one_line(ended);
    return ended.err;
  }

  const annuli::test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST_F(Launcher, AllJoinAndTheFirstSpeaks) {
  for (const int64_t processes : {2, 4}) {
    const Ended ended = run("speaks", processes);
    EXPECT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(ended.out, "output of rank 0\n");
    EXPECT_THAT(ended.err,
                MatchesRegex("rank [1-3]: warning: what only others find\n"));
  }
}

TEST_F(Launcher, OneThatIsKilled) {
  const std::string line = failure_of("killed", 4, 128 + SIGKILL);
  EXPECT_THAT(line, AllOf(StartsWith("rank 3 (process "),
                          HasSubstr(") was killed by SIGKILL; rank "),
                          HasSubstr(" lost rank 3 (process "),
                          HasSubstr("at step 12 of phase moe")));
}

TEST_F(Launcher, OneThatIsStopped) {
  // 42: that of the process that has lost it.
  const std::string line = failure_of("stopped", 2, 42);
  EXPECT_THAT(line, HasSubstr("lost rank 1 (process "));
  EXPECT_THAT(line, HasSubstr("the process is stopped"));
}

TEST_F(Launcher, AnErrorOfOneNamesIt) {
  const std::string line = failure_of("throws", 4, 2);
  EXPECT_THAT(line, AllOf(StartsWith("rank 3 (process "),
                          HasSubstr("): writing x: the disk is full\n")));
}

// The others do not wait for it to come; the note reaches them first.
TEST_F(Launcher, AnErrorBeforeAllHaveJoined) {
  const std::string line = failure_of("fails_before", 4, 2);
  EXPECT_THAT(line, AllOf(StartsWith("rank 1 (process "),
                          HasSubstr("): opening the data: no\n")));
}

TEST_F(Launcher, AnErrorOfAllIsSaidOnce) {
  const Ended ended = run("all_throw", 4);
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.err, "reading the plan: no\n");
}

TEST_F(Launcher, OneThatEndsWithoutAWord) {
  const std::string line = failure_of("exits", 2, 5);
  EXPECT_THAT(line, AllOf(StartsWith("rank 1 (process "),
                          HasSubstr("ended with status 5; rank 0 on")));
}

TEST_F(Launcher, OneThatFailsAndDoesNotEndIsKilled) {
  const std::string line = failure_of("failed", 2, 47);
  EXPECT_THAT(line, HasSubstr("it ended with status 7: the disk is full"));
}

TEST_F(Launcher, NoChildOutlivesIt) {
  Program program = start("names_processes", 4);
  std::istringstream lines(program.output_after("ready"));
  std::vector<pid_t> processes(4);
  for (pid_t& process : processes) lines >> process;
  for (const pid_t process : processes) EXPECT_EQ(::kill(process, 0), 0);
  ::kill(program.process(), SIGKILL);
  program.wait();
  for (const pid_t process : processes) {
    ASSERT_GT(process, 1);
    // Ended is enough: who inherits it may take its time to wait for it.
    const auto runs = [&] {
      std::ifstream file(fmt::format("/proc/{}/stat", process));
      std::string line;
      std::getline(file, line);
      return !line.empty() && line.find(") Z ") == std::string::npos;
    };
    for (int i = 0; i < 6000 && runs(); ++i) ::usleep(10'000);
    EXPECT_FALSE(runs());
  }
}

TEST_F(Launcher, PassesSignalsOn) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    Program program = start("waits_for_signal", 2);
    program.output_after("ready");
    ::kill(program.process(), signal);
    const Ended ended = program.wait();
    EXPECT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(ended.out, fmt::format("ready\n{0}\n{0}\n", signal));
  }
}

// As a terminal does.
TEST_F(Launcher, ASignalToTheWholeGroupComesOnce) {
  Program program = start("waits_for_signal", 2);
  program.output_after("ready");
  ::kill(-program.process(), SIGINT);
  EXPECT_EQ(program.wait().status, 0);
}

TEST_F(Launcher, ASecondSignalEndsAll) {
  Program program = start("goes_on_after_signal", 2);
  program.output_after("ready");
  ::kill(program.process(), SIGINT);
  program.output_after("once");
  ::kill(program.process(), SIGINT);
  const Ended ended = program.wait();
  EXPECT_EQ(ended.status, 128 + SIGINT);
  EXPECT_EQ(ended.err, "");
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Launcher, CoresAreDivided) {
  const auto cores = allowed_cores().size();
  for (const int64_t processes : {2, 4}) {
    const auto share = cores / static_cast<size_t>(processes);
    const std::string line =
        fmt::format("{} threads of {} cores\n", std::max<size_t>(1, share),
                    share > 0 ? share : cores);
    std::string all;
    for (int64_t i = 0; i < processes; ++i) all += line;
    EXPECT_EQ(run("threads", processes).out, all);
  }
}

TEST_F(Launcher, TheEnvironmentIsKept) {
  const Ended ended =
      start("shows_cache", 2, {{"ANNULI_CACHE", "/some/where"}}).wait();
  EXPECT_EQ(ended.out, "/some/where\n/some/where\n");
}

TEST_F(Launcher, NotWithinAnotherOne) {
  const Ended ended = start("speaks", 2,
                            {{"RANK", "0"},
                             {"WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "localhost"},
                             {"MASTER_PORT", "1234"}})
                          .wait();
  EXPECT_EQ(ended.status, 2);
  expect_one_line(ended);
  EXPECT_THAT(ended.err, HasSubstr("has started 2 already"));
}

std::string refusal(const std::string& text) {
  try {
    process_count(text);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(ProcessCount, APowerOfTwo) {
  for (const int64_t count : {1, 2, 64, 4096}) {
    EXPECT_EQ(process_count(std::to_string(count)), count);
  }
  EXPECT_THAT(refusal("6"), HasSubstr("'6', expected a power of two from 1 to "
                                      "4096; try 4 or 8"));
  EXPECT_THAT(refusal("0"), HasSubstr("try 1"));
  EXPECT_THAT(refusal("-2"), HasSubstr("try 1"));
  EXPECT_THAT(refusal("8192"), HasSubstr("try 4096"));
  for (const char* text : {"two", "", "2.0", "2x", "99999999999999999999"}) {
    EXPECT_THAT(refusal(text), HasSubstr("try 2")) << text;
  }
}

TEST(Cores, EquallyManyForEach) {
  using Shares = std::vector<std::vector<int>>;
  EXPECT_EQ(divided({0, 1, 2, 3}, 2), (Shares{{0, 1}, {2, 3}}));
  EXPECT_EQ(divided({1, 4, 5}, 2), (Shares{{1}, {4}}));
  EXPECT_EQ(divided({0}, 2), (Shares{{}, {}}));
}

TEST(Cores, AreSharedUnlessTheyAreDivided) {
  const auto cores = static_cast<int64_t>(allowed_cores().size());
  EXPECT_EQ(default_threads({}), cores);
  EXPECT_EQ(default_threads({.size = 2, .local_size = 2}),
            std::max<int64_t>(1, cores / 2));
  EXPECT_EQ(
      default_threads({.size = 2, .local_size = 2, .cores_divided = true}),
      cores);
  EXPECT_EQ(default_threads({.size = 4096, .local_size = 4096}), 1);
}

}  // namespace
}  // namespace annuli::parallel

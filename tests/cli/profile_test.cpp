// annuli run --profile: the table, the trace, and a run that it does not
// change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "program.h"

namespace annuli::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class Profile : public ::testing::Test {
 protected:
  Outcome run(const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"run",     "plans/tiny.yaml",
                                          "--out",   scratch_.file(name),
                                          "--allow", "router_health"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, scratch_.path());
  }
  // Loss and gradient norm of every step, as they are written.
  std::vector<std::string> steps(const std::string& name) {
    std::vector<std::string> found;
    std::istringstream lines(
        read_file(scratch_.path() / name / "training_history.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const Json record = Json::parse(line);
      if (record.at("type") != "step") continue;
      found.push_back(record.at("loss").dump() + " " +
                      record.at("grad_norm").dump());
    }
    return found;
  }
  ScratchFolder scratch_;
};

TEST_F(Profile, PrintsKernelsWritesATraceAndChangesNoResult) {
  const Outcome plain = run("plain");
  const Outcome profiled = run("profiled", {"--profile"});
  ASSERT_EQ(plain.status, 0) << plain.err;
  ASSERT_EQ(profiled.status, 0) << profiled.err;
  EXPECT_EQ(steps("plain"), steps("profiled"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "plain/profile.json"));

  // Three steps a phase, of which the first is not recorded.
  EXPECT_THAT(profiled.out, HasSubstr("profile of dense: 2 steps"));
  EXPECT_THAT(profiled.out, ContainsRegex("unaccounted +[0-9]"));
  const Json trace = read_json(scratch_.path() / "profiled/profile.json");
  std::set<std::string> phases;
  std::multiset<std::string> names;
  for (const Json& line : trace.at("traceEvents")) {
    names.insert(line.at("name"));
    if (line.at("name") == "process_name") {
      phases.insert(line.at("args").at("name"));
    }
  }
  EXPECT_EQ(phases, (std::set<std::string>{"dense", "moe", "medium", "large"}));
  for (const char* once : {"step", "forward", "backward"}) {
    EXPECT_EQ(names.count(once), 8u) << once;
  }
  for (const char* some : {"optimizer", "aten::mm"}) {
    EXPECT_GT(names.count(some), 8u) << some;
  }
}

TEST_F(Profile, TakesAFileAndANumberOfSteps) {
  const std::string trace = scratch_.file("trace.json");
  const Outcome outcome =
      run("run", {"--profile=" + trace, "--profile-steps", "1"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("profile of dense: 1 steps"));
  EXPECT_THAT(outcome.out, HasSubstr("without recording"));
  EXPECT_TRUE(fs::exists(trace));
}

TEST_F(Profile, RefusesNoStepsAndStepsWithoutAProfile) {
  const Outcome none = run("run", {"--profile", "--profile-steps", "0"});
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, HasSubstr("expected 1 or more"));
  EXPECT_EQ(run("run", {"--profile-steps", "2"}).status, 2);
}

}  // namespace
}  // namespace annuli::test

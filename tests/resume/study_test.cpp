// A study is what its runs are one by one, and may be killed at any moment.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "annuli/study/study_for_tests.h"
#include "tests/cli/program.h"
#include "tests/resume/run_outcome.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class StudyVerb : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream text(scratch_.file("x.txt"));
    for (int i = 0; i < 400; ++i) {
      text << "The " << i * i % 97 << " trees of " << i << " stand in rows of "
           << i * 7 % 31 << ".\n\n";
    }
  }

  std::string study(const std::string& folder) {
    const std::string file = scratch_.file(folder + ".yaml");
    std::ofstream(file) << study::small_study(scratch_.file("x.txt"),
                                              scratch_.file(folder));
    return file;
  }

  Outcome run(const std::vector<std::string>& arguments) {
    return run_program(arguments, scratch_.path());
  }

  // The one in `in` whose name begins so.
  fs::path folder_of(const std::string& in, const std::string& begin) const {
    for (const auto& entry : fs::directory_iterator(scratch_.path() / in)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(begin)) return entry.path();
    }
    ADD_FAILURE() << "nothing in " << in << " begins with " << begin;
    return {};
  }

  using Key = std::tuple<std::string, int64_t, double, double>;
  std::map<Key, double> losses(const std::string& folder) const {
    std::map<Key, double> found;
    std::ifstream file(scratch_.path() / folder / "results.jsonl");
    for (std::string line; std::getline(file, line);) {
      const json one = json::parse(line);
      const Key key = {one.at("arm"), one.at("seed"), one.at("rate"),
                       one.at("point")};
      EXPECT_FALSE(found.contains(key)) << line;
      found[key] = one.at("bits_per_byte");
    }
    return found;
  }

  ScratchFolder scratch_;
};

TEST_F(StudyVerb, RunsEveryArmAndComparesThem) {
  const std::string file = study("small");
  const Outcome done = run({"study", file});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("less scratch [95 %]"));
  // Two rates, then two points of two seeds of two arms, of which the best
  // rate's end with the first seed was there.
  EXPECT_EQ(losses("small").size(), 2 + 2 * 2 * 2 - 1);
  const Outcome table = run({"study", file, "--table", "--json"});
  const json arms = json::parse(table.out).at("arms");
  EXPECT_EQ(arms[1].at("curve").size(), 2);
  EXPECT_EQ(arms[1].at("difference").at("count"), 2);
  EXPECT_THAT(run({"study", file, "--plan"}).out, HasSubstr("all"));
  // Weights of what was measured are gone.
  for (const std::string& left : scratch_.files()) {
    EXPECT_FALSE(left.ends_with(".pt")) << left;
  }
}

// A branch is the run that it stands for: the plan in its folder, run alone.
TEST_F(StudyVerb, ABranchEndsAsItsPlanRunAlone) {
  ASSERT_EQ(run({"study", study("small")}).status, 0);
  const auto found = losses("small");
  for (const char* arm : {"scratch", "stack"}) {
    const auto of_arm = std::ranges::find_if(found, [&](const auto& one) {
      const auto& [name, seed, rate, point] = one.first;
      return name == arm && seed == 2 && point == 0.5;
    });
    ASSERT_NE(of_arm, found.end());
    const fs::path unit = folder_of(
        fmt::format("small/{}", arm),
        fmt::format("rate-{:.2e}-seed-2-", std::get<2>(of_arm->first)));
    const std::string folder =
        fs::relative(unit, scratch_.path()) / "point-0.5";
    const std::string alone = std::string("alone-") + arm;
    const Outcome done = run({"run", scratch_.file(folder + "/plan.yaml"),
                              "--out", scratch_.file(alone)});
    ASSERT_EQ(done.status, 0) << done.err;
    EXPECT_EQ(outcome_of(scratch_.path() / alone).history,
              outcome_of(scratch_.path() / folder).history);
  }
}

TEST_F(StudyVerb, KilledAndResumedItFindsTheSame) {
  ASSERT_EQ(run({"study", study("whole")}).status, 0);
  const std::vector<std::string> arguments = {"study", study("killed")};
  bool ended = false;
  for (int round = 0; !ended; ++round) {
    ASSERT_LT(round, 100);
    ended = !run_for(arguments, 300 + 170 * round);
  }
  EXPECT_EQ(losses("killed"), losses("whole"));
}

TEST_F(StudyVerb, ProcessesThatShareItFindTheSame) {
  ASSERT_EQ(run({"study", study("alone")}).status, 0);
  const Outcome shared = run({"study", study("shared"), "--jobs", "3"});
  ASSERT_EQ(shared.status, 0) << shared.err;
  EXPECT_EQ(losses("shared"), losses("alone"));
}

// The trials of `scratch` give the rate of `stack`.
TEST_F(StudyVerb, RunsTheArmsThatItIsToldTo) {
  const std::string file = study("small");
  const Outcome done = run({"study", file, "--arms", "stack", "--jobs", "2"});
  ASSERT_EQ(done.status, 0) << done.err;
  std::map<std::string, int> runs;
  for (const auto& [key, loss] : losses("small")) ++runs[std::get<0>(key)];
  EXPECT_EQ(runs, (std::map<std::string, int>{{"scratch", 2}, {"stack", 4}}));
  const Outcome refused = run({"study", file, "--arms", "stack,scrach"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("found no arm 'scrach'"));
  EXPECT_THAT(refused.err, HasSubstr("scratch, stack"));
}

// A finished run has decayed, so that its curve says nothing more.
TEST_F(StudyVerb, AdviceIsOfARunAndOfStudies) {
  const std::string file = study("small");
  ASSERT_EQ(run({"study", file}).status, 0);
  const fs::path unit = folder_of("small/stack", "rate-");
  const Outcome advice =
      run({"advise", unit.string(), "--study", file, "--json"});
  ASSERT_EQ(advice.status, 0) << advice.err;
  const json said = json::parse(advice.out);
  EXPECT_EQ(said.at("phase"), "large");
  EXPECT_EQ(said.at("flops"), said.at("all_flops"));
  EXPECT_EQ(said.at("going_on").at("doubt"),
            "its learning rate is decaying, and the loss falls as that does");
  // No arm goes on with the two layers from which `stack` grew.
  EXPECT_TRUE(said.at("growing").empty());
  const Outcome nothing = run({"advise", scratch_.file("nothing")});
  EXPECT_EQ(nothing.status, 2);
}

TEST_F(StudyVerb, QuickIsAStudyOfItsOwn) {
  const Outcome done = run({"study", study("small"), "--quick"});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(losses("small").size(), 0);
  EXPECT_EQ(losses("small-quick").size(), 2 + 2 * 2 - 1);
}

}  // namespace
}  // namespace annuli::test

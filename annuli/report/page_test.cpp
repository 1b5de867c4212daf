#include "annuli/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/report/run_data.h"
#include "annuli/report/small_run_for_tests.h"

namespace annuli::report {
namespace {

// What the page holds as data.
std::string data_in(const std::string& page) {
  const std::string begin = "id=\"data\">";
  const size_t from = page.find(begin) + begin.size();
  return page.substr(from, page.find("</script>", from) - from);
}

size_t scripts_in(const std::string& page) {
  size_t count = 0;
  for (size_t at = 0; (at = page.find("</script", at)) != page.npos; ++at) {
    ++count;
  }
  return count;
}

TEST(Page, NothingInTheDataEndsItsElement) {
  const Json hostile = {
      {"phase", "</script><script>alert(1)</script>"},
      {"<!--", "<!-- <script>"},
      {"marks", "@@DATA@@ @@SCRIPTS@@"},
      {"lines", "\u2028\u2029 & ' \""},
  };
  const std::string page = html_page(hostile);
  EXPECT_EQ(scripts_in(page), scripts_in(html_page(Json::object())));
  const std::string data = data_in(page);
  EXPECT_THAT(data, testing::Not(testing::HasSubstr("<")));
  EXPECT_EQ(Json::parse(data), hostile);
}

TEST(Page, BytesThatAreNoTextAreReplaced) {
  const std::string page = html_page({{"sample", "a\xff\xc3"}});
  EXPECT_EQ(Json::parse(data_in(page))["sample"], "a\uFFFD\uFFFD");
}

TEST(Page, IsKnownByItsBeginning) {
  EXPECT_TRUE(is_html_page(html_page(Json::object())));
  EXPECT_FALSE(is_html_page("<!doctype html>\n<html>"));
  EXPECT_FALSE(is_html_page(""));
}

TEST(Page, AsksForNothing) {
  const std::string page = html_page(Json::object());
  for (const char* asks : {" src=", "url(h", "@import", "fetch(", "import("}) {
    EXPECT_THAT(page, testing::Not(testing::HasSubstr(asks)));
  }
  EXPECT_THAT(page, testing::HasSubstr("default-src 'none'"));
}

TEST(Page, AServedOneAsksItsServerAlone) {
  const std::string page = html_page(Json::object());
  EXPECT_THAT(page, testing::Not(testing::HasSubstr("EventSource")));
  EXPECT_THAT(page, testing::HasSubstr("connect-src 'none'"));
  const std::string served = served_page(Json::object());
  EXPECT_TRUE(is_html_page(served));
  EXPECT_THAT(served, testing::HasSubstr("EventSource"));
  EXPECT_THAT(served, testing::HasSubstr(served_page_policy()));
  EXPECT_THAT(served_page_policy(), testing::HasSubstr("connect-src 'self'"));
}

TEST(PageData, AHistoryIsEnough) {
  SmallRun run;
  run.add(SmallRun::step(1, 3.0));
  run.add(SmallRun::step(2, 2.0));
  run.add({{"type", "phase"}, {"phase", "dense"}, {"active_parameters", 10}});
  const Json data = page_data({run.folder()});
  const Json& one = data.at("runs")[0];
  EXPECT_EQ(one.at("steps").at("loss"), Json({3, 2}));
  EXPECT_EQ(one.at("steps").at("tokens"), Json({100, 200}));
  EXPECT_FALSE(one.at("finished").get<bool>());
  EXPECT_TRUE(one.at("plan").is_null());
  EXPECT_TRUE(one.at("flops_are_estimated").get<bool>());
  EXPECT_EQ(one.at("steps").at("flops"), Json({6000, 12000}));
  EXPECT_TRUE(one.at("verdicts").empty());
  EXPECT_TRUE(data.at("comparison").empty());
}

TEST(PageData, WithoutParametersThereAreNoFlops) {
  SmallRun run;
  run.add(SmallRun::step(1, 3.0));
  const Json data = page_data({run.folder()});
  EXPECT_FALSE(data.at("runs")[0].at("steps").contains("flops"));
}

TEST(PageData, GrowthStandsBetweenTheSteps) {
  SmallRun run;
  run.add(SmallRun::step(1, 3.0));
  run.add({{"type", "boundary"},
           {"phase", "moe"},
           {"operator", "upcycle"},
           {"arguments", {{"num_experts", 4}}},
           {"jump", 1e-8},
           {"seconds", 2.0}});
  run.add(SmallRun::step(1, 3.0, {{"expert_load", {{3, 1}}}}, "moe"));
  const Json one = page_data({run.folder()}).at("runs")[0];
  const Json& growth = one.at("growths")[0];
  EXPECT_EQ(growth.at("index"), 1);
  EXPECT_EQ(growth.at("tokens"), 100);
  EXPECT_EQ(growth.at("seconds"), 1);
  EXPECT_EQ(growth.at("growth_seconds"), 2.0);
  EXPECT_EQ(growth.at("arguments"), Json({{"num_experts", 4}}));
  EXPECT_EQ(one.at("loads")[0].at("percent_of_mean"), Json({{150, 50}}));
  EXPECT_EQ(one.at("loads")[0].at("first_index"), 2);
}

TEST(PageData, ManyEvaluationsAreThinnedAndTheLastStays) {
  SmallRun run;
  std::string text = SmallRun::step(1, 3.0).dump() + "\n";
  for (int i = 1; i <= 20'000; ++i) {
    text += R"({"type":"evaluation","phase":"dense","eval_loss":)" +
            std::to_string(i) + R"(,"more":"what nobody asked for"})" + "\n";
  }
  run.write_history(text);
  const Json data = page_data({run.folder()});
  const Json& held = data.at("runs")[0].at("evaluations");
  EXPECT_EQ(held.size(), 1000u);
  EXPECT_EQ(held.back().at("eval_loss"), 20'000);
  EXPECT_FALSE(held.back().contains("more"));
}

TEST(PageData, VerdictsAndSamplesAreOfTheirPhase) {
  SmallRun run;
  run.add(SmallRun::step(1, 3.0));
  run.write("verify/dense.json", R"({"growth": [
    {"check": "a", "aspect": "b", "passed": false, "allowed": true,
     "measured": null, "limit": 0.5},
    {"check": "a", "aspect": "c", "passed": true, "allowed": false,
     "measured": 0.25, "limit": 0.5, "note": "n"}]})");
  run.write("samples/dense.txt",
            "=== One\ntwo\n--- greedy\nOne\ntwo <b>x</b>\n"
            "--- temperature 1, top-k 5\nOne\ntwo y\n\n");
  const Json one = page_data({run.folder()}).at("runs")[0];
  EXPECT_EQ(one.at("verdicts")[0].at("outcome"), "allowed");
  EXPECT_TRUE(one.at("verdicts")[0].at("measured").is_null());
  EXPECT_EQ(one.at("verdicts")[1].at("outcome"), "pass");
  ASSERT_EQ(one.at("samples").size(), 2u);
  EXPECT_EQ(one.at("samples")[0].at("prompt"), "One\ntwo");
  EXPECT_EQ(one.at("samples")[0].at("text"), "One\ntwo <b>x</b>");
  EXPECT_EQ(one.at("samples")[1].at("how"), "temperature 1, top-k 5");
}

TEST(PageData, APhaseIsNoWayOutOfTheFolder) {
  SmallRun run;
  run.write("outside.json", "this is no verdict");
  run.write("verify/x.json", "{}");
  run.add(SmallRun::step(1, 3.0, {}, "../outside"));
  run.add(SmallRun::step(1, 3.0, {}, (run.folder() / "outside").string()));
  run.add(SmallRun::step(1, 3.0, {}, std::string("x\0y", 3)));
  EXPECT_TRUE(page_data({run.folder()}).at("runs")[0].at("verdicts").empty());
}

struct BadFile {
  const char* name;
  const char* file;
  const char* text;
};

class BadRunFiles : public testing::TestWithParam<BadFile> {};

TEST_P(BadRunFiles, AreRefusedWithTheirName) {
  SmallRun run;
  run.add(SmallRun::step(1, 3.0));
  run.write(GetParam().file, GetParam().text);
  try {
    page_data({run.folder()});
    FAIL() << "was taken";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(GetParam().file));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
  }
}

const BadFile kBadFiles[] = {
    {"PlanIsNoYaml", "plan.yaml", "{{{"},
    {"PlanIsAnother", "plan.yaml", "name: x\nnonsense: 1\n"},
    {"VerdictsAreCut", "verify/dense.json", "{\"growth\": ["},
    {"VerdictsAreALine", "verify/dense.json", "{\"growth\": 5}"},
    {"VerdictIsAText", "verify/dense.json", "{\"growth\": [\"x\"]}"},
    {"VerdictsAreAList", "verify/dense.json", "[1]"},
    {"VerdictHasNoCheck", "verify/dense.json", "{\"growth\": [{}]}"},
    {"VerdictMeasuresAWord", "verify/dense.json",
     R"({"growth": [{"check": "a", "aspect": "b", "passed": true,
                     "measured": "x", "limit": 1}]})"},
    {"LineageIsCut", "lineage.json", "{"},
    {"LineageIsAList", "lineage.json", "[]"},
    {"LineageIsBroken", "lineage.json",
     R"({"format_version": 1, "records": [{"operator": 5}]})"},
};

INSTANTIATE_TEST_SUITE_P(All, BadRunFiles, testing::ValuesIn(kBadFiles),
                         [](const auto& bad) { return bad.param.name; });

}  // namespace
}  // namespace annuli::report

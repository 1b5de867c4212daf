#include "annuli/verify/verdict.h"
#include "annuli/core/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/verify/boundary_record.h"

namespace annuli::verify {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::string thrown(const std::vector<Verdict>& verdicts) {
  try {
    require(verdicts);
  } catch (const VerdictError& error) {
    return error.what();
  }
  return "";
}

TEST(Verdict, PassesUpToAndWithItsLimit) {
  EXPECT_TRUE(at_most("a", "b", 1, 1).passed);
  EXPECT_FALSE(at_most("a", "b", std::nextafter(1, 2), 1).passed);
  EXPECT_FALSE(at_most("a", "b", kInf, 1).passed);
  EXPECT_TRUE(at_least("a", "b", 1, 1).passed);
  EXPECT_FALSE(at_least("a", "b", std::nextafter(1, 0), 1).passed);
  EXPECT_FALSE(at_least("a", "b", -kInf, 1).passed);
}

TEST(Verdict, NanNeverPasses) {
  EXPECT_FALSE(at_most("a", "b", kNan, 1).passed);
  EXPECT_FALSE(at_least("a", "b", kNan, 1).passed);
  EXPECT_FALSE(at_most("a", "b", kNan, kInf).passed);
  EXPECT_FALSE(at_least("a", "b", kNan, -kInf).passed);
  EXPECT_FALSE(at_most("a", "b", 0, kNan).passed);
}

TEST(Verdict, TheWorseDistanceIsTheLargerAndNanStays) {
  EXPECT_EQ(worse(1, 2), 2);
  EXPECT_EQ(worse(2, 1), 2);
  EXPECT_TRUE(std::isnan(worse(kNan, 1)));
  EXPECT_TRUE(std::isnan(worse(1, kNan)));
  EXPECT_TRUE(std::isnan(worse(kNan, kInf)));
  EXPECT_TRUE(std::isnan(worse(worse(kInf, kNan), kInf)));
}

TEST(Verdict, RequireNamesCheckLayerTensorMeasuredAndLimit) {
  Verdict failed = at_most("rope_integrity", "q after RoPE", 0.5, 1e-5);
  failed.layer = 3;
  failed.tensor = "model.layers.3.self_attn.q_proj.weight";
  failed.note = "head 2";
  const std::string text = thrown({at_most("tensor_audit", "", 0, 0), failed});
  EXPECT_EQ(text,
            "rope_integrity failed (q after RoPE): measured 0.5, limit <= "
            "1e-05, layer 3, model.layers.3.self_attn.q_proj.weight (head 2); "
            "--allow rope_integrity turns this into a warning");
}

TEST(Verdict, RequireSpeaksOfTheFirstThatStops) {
  std::vector<Verdict> verdicts = {
      at_most("a", "", 0, 1), at_most("b", "", 2, 1), at_least("c", "", 0, 1)};
  EXPECT_EQ(thrown(verdicts).substr(0, 8), "b failed");
  allow(verdicts, {"b"});
  EXPECT_EQ(thrown(verdicts).substr(0, 8), "c failed");
  allow(verdicts, {"b", "c"});
  EXPECT_NO_THROW(require(verdicts));
}

TEST(Verdict, AllowTouchesOnlyTheNamedAndPassesNone) {
  std::vector<Verdict> verdicts = {at_most("router_health", "", 2, 1),
                                   at_most("tensor_audit", "", 2, 1)};
  allow(verdicts, {"router_health", "router"});
  EXPECT_FALSE(verdicts[0].passed);
  EXPECT_FALSE(verdicts[0].stops());
  EXPECT_TRUE(verdicts[1].stops());
}

TEST(Verdict, TheLineSaysHowItEnded) {
  Verdict verdict = at_most("a", "b", 2, 1);
  verdict.layer = 4;
  EXPECT_EQ(to_line(verdict).substr(0, 5), "FAIL ");
  EXPECT_NE(to_line(verdict).find(", layer 4"), std::string::npos);
  verdict.allowed = true;
  EXPECT_EQ(to_line(verdict).substr(0, 14), "FAIL (allowed)");
  EXPECT_EQ(to_line(at_most("a", "b", 1, 1)).substr(0, 5), "pass ");
}

TEST(Verdict, JsonKeepsEveryFigure) {
  Verdict verdict = at_least("a", "b", 2, 1);
  verdict.layer = 0;
  verdict.tensor = "t";
  const Json json = to_json(verdict);
  EXPECT_EQ(json.at("check"), "a");
  EXPECT_EQ(json.at("aspect"), "b");
  EXPECT_EQ(json.at("passed"), true);
  EXPECT_EQ(json.at("allowed"), false);
  EXPECT_EQ(json.at("measured"), 2);
  EXPECT_EQ(json.at("limit"), 1);
  EXPECT_EQ(json.at("at_least"), true);
  EXPECT_EQ(json.at("layer"), 0);
  EXPECT_EQ(json.at("tensor"), "t");
  EXPECT_FALSE(to_json(at_most("a", "b", 2, 1)).contains("layer"));
}

// Logits of 1e5 are equal to 1e-5 of that.
TEST(BoundaryRecord, TheLimitOfAnExactStepFollowsHugeLogits) {
  const auto passes = [](double before, double jump) {
    return boundary_record(before, before + jump, /*exact=*/true, 0, 1e-5)
        .passed;
  };
  EXPECT_TRUE(passes(10.9, 0.9e-4));
  EXPECT_FALSE(passes(10.9, 1.1e-4));
  EXPECT_TRUE(passes(1.8e5, 0.8));
  EXPECT_FALSE(passes(1.8e5, -1));
  EXPECT_FALSE(passes(1.8e5, kNan));
}

}  // namespace
}  // namespace annuli::verify

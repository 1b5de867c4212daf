#include "annuli/config/check_gates.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;

Plan plan_of(const std::string& model, const std::string& grow,
             const std::string& more = "") {
  const std::string train =
      "train: {max_steps: 1, learning_rate: 0.1, batch_size: 1}";
  return parse_plan(
      fmt::format(
          "name: p\ntokenizer: bytes\ndata: {{text: [a.txt]}}\n{}\n"
          "model: {{hidden_size: 32, intermediate_size: 64, "
          "num_hidden_layers: 2, num_attention_heads: 2{}}}\n"
          "phases:\n  - {{name: a, {}}}\n  - {{name: b, grow: {}, {}}}\n",
          more, model, train, grow, train),
      "p.yaml", {});
}

std::string refusal(const Plan& plan) {
  try {
    check_gates(plan);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(CheckGates, TopOneIsRefusedWhereverItIsMade) {
  const char* upcycle = "{upcycle: {num_experts: 4, num_experts_per_tok: 1}}";
  const std::string refused = refusal(plan_of("", upcycle));
  EXPECT_THAT(refused, HasSubstr("phases.1.grow.upcycle.num_experts_per_tok"));
  EXPECT_THAT(refused, HasSubstr("no gradient"));
  EXPECT_THAT(refused, HasSubstr("2 or more"));
  EXPECT_THAT(refused, HasSubstr("allow: [router_health]"));
  EXPECT_THAT(refusal(plan_of("",
                              "{chain: [widen: {}, upcycle: {num_experts: 4, "
                              "num_experts_per_tok: 1}]}")),
              HasSubstr("phases.1.grow.chain.1.upcycle"));
  const char* mixture = ", num_experts: 4, num_experts_per_tok: ";
  EXPECT_THAT(refusal(plan_of(mixture + std::string("2"),
                              "{expand_experts: {num_experts_per_tok: 1}}")),
              HasSubstr("grow.expand_experts.num_experts_per_tok"));
  EXPECT_THAT(refusal(plan_of(mixture + std::string("1"), "{widen: {}}")),
              HasSubstr("model.num_experts_per_tok"));
}

TEST(CheckGates, TwoExpertsATokenPassAndSoDoesWhatIsAllowed) {
  EXPECT_EQ(refusal(plan_of("", "{upcycle: {num_experts: 4}}")), "");
  EXPECT_EQ(refusal(plan_of("", "{widen: {}}")), "");
  EXPECT_EQ(refusal(plan_of(", num_experts: 4, num_experts_per_tok: 2",
                            "{expand_experts: {}}")),
            "");
  const char* upcycle = "{upcycle: {num_experts: 4, num_experts_per_tok: 1}}";
  EXPECT_EQ(refusal(plan_of("", upcycle, "allow: [router_health]")), "");
  EXPECT_NE(refusal(plan_of("", upcycle, "allow: [boundary_record]")), "");
}

}  // namespace
}  // namespace annuli

// The budget of a growth that preserves nothing is its operator's, and both
// holds and refuses.
#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "annuli/grow/upcycle.h"
#include "annuli/verify/verify_growth.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

// A dropping upcycle of a parent that is sure of the probe's text: the surer,
// the more the child has to lose.
struct SureParent {
  tiny::GrownPair pair;
  double rise;
};

const Verdict& boundary(const std::vector<Verdict>& verdicts) {
  EXPECT_EQ(verdicts.back().check, "boundary_record");
  return verdicts.back();
}

SureParent parent_of_sureness(double sureness) {
  Transformer parent =
      tiny::model(tiny::config({.gated = true, .tied = false}), at::kFloat);
  parent.weight(find_row(parent.table(), Part::kHead)).mul_(sureness);
  SureParent made{
      tiny::grown_pair(parent, grow::Upcycle(UpcyclePlan{.num_experts = 4,
                                                         .drop_ratio = 0.5})
                                   .recipe(parent.config(), 3)),
      0};
  verify::Probe& probe = made.pair.probe;
  for (size_t i = 0; i < probe.tokens.size(); ++i) {
    probe.targets[i] = parent.logits(probe.tokens[i]).argmax(-1);
  }
  made.pair.record = ParentRecord::take(parent, probe, false);
  made.rise = boundary(made.pair.verdicts()).measured;
  return made;
}

// The loss rises by about `nats`.
SureParent parent_that_loses(double nats) {
  double low = 0.1;
  double high = 1000;
  for (int i = 0; i < 30; ++i) {
    const double middle = std::sqrt(low * high);
    SureParent made = parent_of_sureness(middle);
    if (std::abs(made.rise - nats) < 0.2) return made;
    (made.rise < nats ? low : high) = middle;
  }
  ADD_FAILURE() << "no parent loses " << nats;
  return parent_of_sureness(1);
}

Verdict judged(tiny::GrownPair& pair, std::optional<double> budget) {
  return boundary(verify_growth({.parent = pair.record,
                                 .recipe = pair.recipe,
                                 .probe = pair.probe,
                                 .loss_budget = budget},
                                pair.child));
}

TEST(LossBudget, AcceptsWhatOnlyTheOperatorsBudgetAccepts) {
  SureParent loses = parent_that_loses(1);
  EXPECT_EQ(loses.pair.recipe.loss_budget, 2);
  EXPECT_TRUE(judged(loses.pair, std::nullopt).passed);
  EXPECT_FALSE(judged(loses.pair, 0.5).passed);
}

TEST(LossBudget, RefusesWhatIsBeyondTheOperatorsBudget) {
  SureParent loses = parent_that_loses(3);
  const Verdict refused = judged(loses.pair, std::nullopt);
  EXPECT_FALSE(refused.passed) << to_line(refused);
  EXPECT_TRUE(judged(loses.pair, 4).passed);
}

}  // namespace
}  // namespace annuli::verify

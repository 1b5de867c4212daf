#include "annuli/budget/plan_budget.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "annuli/budget/plans_for_tests.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"

namespace annuli::budget {
namespace {

using testing::HasSubstr;

TEST(Levers, SaysNoWithPhaseSizeAndLever) {
  const Plan plan = plan_of("seed.yaml");
  const PlanBudget budget = plan_budget(plan);
  EXPECT_NO_THROW(require_fits(plan, budget, budget.peak_memory()));
  try {
    require_fits(plan, budget, budget.peak_memory() - 1);
    FAIL() << "fits";
  } catch (const VerdictError& error) {
    EXPECT_THAT(error.what(), HasSubstr("phase large needs 1"));
    EXPECT_THAT(error.what(), HasSubstr("try train.gradient_checkpointing"));
  }
  try {
    require_fits(plan, budget, 9'000'000'000);
    FAIL() << "fits";
  } catch (const VerdictError& error) {
    EXPECT_THAT(error.what(), HasSubstr("phase medium needs 1"));
    EXPECT_THAT(error.what(), HasSubstr("try optimizer.type=adamw_8bit"));
  }
  try {
    require_fits(plan, budget, 1'000'000'000);
    FAIL() << "fits";
  } catch (const VerdictError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no single setting is enough"));
  }
}

// Where activations of a large batch are what does not fit, smaller passes do,
// though they hold the gradient; each by itself is tried before numbers change.
TEST(Levers, ProposesMicroBatches) {
  std::vector<std::string> settings = {"data.sequence_length=512"};
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    const std::string train = fmt::format("phases.{}.train.", phase);
    settings.push_back(train + "batch_size=64");
    settings.push_back(train + "gradient_checkpointing=true");
  }
  const auto peak = [&](const std::string& micro) {
    std::vector<std::string> all = settings;
    for (const char* phase : {"dense", "moe", "medium", "large"}) {
      all.push_back(
          fmt::format("phases.{}.train.micro_batch_size={}", phase, micro));
    }
    return plan_budget(plan_of("quick.yaml", all)).peak_memory();
  };
  const Plan plan = plan_of("quick.yaml", settings);
  const PlanBudget budget = plan_budget(plan);
  ASSERT_LT(peak("16"), peak("32"));
  ASSERT_LT(peak("32"), budget.peak_memory());
  try {
    require_fits(plan, budget, peak("16"));
    FAIL() << "fits";
  } catch (const VerdictError& error) {
    EXPECT_THAT(error.what(), HasSubstr("try train.micro_batch_size=16"));
  }
}

// The levers in their order, as a user would pull them.
std::vector<std::pair<std::string, Settings>> levers_by_hand() {
  const Settings narrow = {"optimizer.type=adamw_8bit", "precision=bf16"};
  const Settings checkpointed = of_all_phases("gradient_checkpointing=true");
  return {{"train.gradient_checkpointing=true", checkpointed},
          {"train.clip=two_pass", of_all_phases("clip=two_pass")},
          {"optimizer.type=adamw_8bit", {"optimizer.type=adamw_8bit"}},
          {"optimizer.type=adafactor", {"optimizer.type=adafactor"}},
          {"precision=bf16 with optimizer.type=adamw_8bit", narrow},
          {"precision=bf16, optimizer.type=adamw_8bit and "
           "train.gradient_checkpointing=true",
           joined(narrow, checkpointed)}};
}

// Clipped plans: as it stands, its first phase alone with hardly a batch, and
// with so large a batch that activations outweigh the rest.
TEST(Levers, TheFirstLeverThatIsEnoughIsNamed) {
  struct Case {
    Settings settings;
    size_t phases;
  };
  const Settings clipped = of_all_phases("max_grad_norm=1");
  const Case cases[] = {
      {clipped, 4},
      {joined({"data.sequence_length=16", "phases.dense.train.batch_size=1"},
              clipped),
       1},
      {joined(clipped, of_all_phases("batch_size=64")), 4}};
  std::set<std::string> named;
  for (const Case& c : cases) {
    const auto plan_with = [&](const Settings& more) {
      Plan plan = plan_of("seed.yaml", joined(c.settings, more));
      plan.phases.resize(c.phases);
      return plan;
    };
    const Plan plan = plan_with({});
    const PlanBudget budget = plan_budget(plan);
    const auto advice = [&](int64_t limit) -> std::string {
      try {
        require_fits(plan, budget, limit);
      } catch (const VerdictError& error) {
        return error.what();
      }
      return "fits";
    };
    int64_t least = budget.peak_memory();
    std::string least_words;
    for (const auto& [words, settings] : levers_by_hand()) {
      const int64_t peak = plan_budget(plan_with(settings)).peak_memory();
      if (peak >= least) continue;
      least = peak;
      least_words = words;
      named.insert(words);
      EXPECT_THAT(advice(peak), HasSubstr(fmt::format(
                                    "; try {}: {}", words,
                                    format_bytes(static_cast<double>(peak)))));
    }
    EXPECT_THAT(advice(least - 1),
                HasSubstr(fmt::format(
                    "no single setting is enough ({} with {})",
                    format_bytes(static_cast<double>(least)), least_words)));
  }
  // Which of the last two are, depends on how the processor multiplies bf16.
  EXPECT_GE(named.size(), 4u);
}

}  // namespace
}  // namespace annuli::budget

#include "annuli/budget/budget_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/json.h"

// The table and the JSON of a budget that no plan has: every number its own.
namespace annuli::budget {
namespace {

using testing::HasSubstr;
using testing::Not;

PlanBudget budget_of_two() {
  PlanBudget budget{.program = 1000};
  budget.phases.resize(2);
  PhaseBudget& small = budget.phases[0];
  small.name = "small";
  small.parameters = {.total = 1'500'000, .active = 1'500'000};
  small.moments = {{"train", 20'000}};
  small.peak = {"train", 21'000};
  PhaseBudget& large = budget.phases[1];
  large.name = "large";
  large.parameters = {.total = 63'500'000, .active = 8'400'000};
  large.weights = 11'000;
  large.optimizer = 22'000;
  large.gradients = 33'000;
  large.activations = 44'000;
  large.moments = {{"record the parent", 50'000}, {"train", 66'000}};
  large.peak = {"train", 67'000};
  large.checkpoint_bytes = 77'000;
  large.state_bytes = 88'000;
  large.step_flops = 2.5e12;
  large.counted_flops = 2.25e12;
  large.train_flops = 5e12;
  large.proof_flops = 1e12;
  budget.kept_disk = 91'000;
  budget.peak_disk = 99'000;
  return budget;
}

TEST(BudgetTable, HasARowForEachPhase) {
  const std::string table = to_table(budget_of_two());
  // Columns are aligned, so runs of spaces are one here.
  std::string text;
  for (const char c : table) {
    if (c != ' ' || text.empty() || text.back() != ' ') text += c;
  }
  EXPECT_THAT(text,
              HasSubstr("small 1.5 M 1.5 M 0 B 0 B 0 B 0 B 21.00 kB train "
                        "0 B 0 T -\n"));
  EXPECT_THAT(
      text, HasSubstr("large 63.5 M 8.4 M 11.00 kB 22.00 kB 33.00 kB 44.00 kB "
                      "67.00 kB train 77.00 kB 2.5 T -\n"));
  EXPECT_THAT(text,
              HasSubstr("peak memory 67.00 kB (phase large), 1.00 kB of it "
                        "the program's own; disk 91.00 kB, 99.00 kB at its "
                        "most\n"));
  EXPECT_THAT(text, Not(HasSubstr("GFLOP/s")));
}

TEST(BudgetTable, TimesAreAddedUp) {
  PlanBudget budget = budget_of_two();
  budget.rates = {.product_flops = 3.2e10, .memory_bytes = 7.5e9};
  budget.phases[0].seconds = 60;
  budget.phases[1].seconds = 30;
  const std::string table = to_table(budget);
  EXPECT_THAT(table, HasSubstr("\ntime 1:30 min for the matrix products at 32 "
                               "GFLOP/s and the updates at 7.5 GB/s"));
}

TEST(BudgetTable, JsonIsTheSameInPlainNumbers) {
  PlanBudget budget = budget_of_two();
  const Json json = to_json(budget);
  EXPECT_EQ(json.at("program_bytes"), 1000);
  EXPECT_EQ(json.at("peak_memory_bytes"), 67'000);
  EXPECT_EQ(json.at("kept_disk_bytes"), 91'000);
  EXPECT_EQ(json.at("peak_disk_bytes"), 99'000);
  EXPECT_FALSE(json.contains("product_flops_per_second"));
  const Json expected = {
      {"name", "large"},
      {"parameters", 63'500'000},
      {"active_parameters", 8'400'000},
      {"weight_bytes", 11'000},
      {"optimizer_bytes", 22'000},
      {"gradient_bytes", 33'000},
      {"activation_bytes", 44'000},
      {"peak_memory_bytes", 67'000},
      {"peak_moment", "train"},
      // With the program, as the peak.
      {"moments",
       {{{"name", "record the parent"}, {"bytes", 51'000}},
        {{"name", "train"}, {"bytes", 67'000}}}},
      {"checkpoint_bytes", 77'000},
      {"state_bytes", 88'000},
      {"step_flops", 2.5e12},
      {"counted_flops", 2.25e12},
      {"train_flops", 5e12},
      {"proof_flops", 1e12},
  };
  EXPECT_EQ(json.at("phases").at(1), expected);
  budget.rates = {.product_flops = 3e10, .memory_bytes = 7e9};
  budget.phases[0].seconds = budget.phases[1].seconds = 30;
  const Json timed = to_json(budget);
  EXPECT_EQ(timed.at("product_flops_per_second"), 3e10);
  EXPECT_EQ(timed.at("memory_bytes_per_second"), 7e9);
  EXPECT_EQ(timed.at("phases").at(1).at("seconds"), 30);
}

PlanBudget budget_of_shards() {
  PlanBudget budget = budget_of_two();
  budget.sharing.processes = 2;
  budget.shard = Sharding::kOptimizer;
  budget.all_shards = {{.shard = Sharding::kNone,
                        .phase = "large",
                        .peak = {"train", 90'000},
                        .step_bytes_sent = 12'000},
                       {.shard = Sharding::kOptimizer,
                        .phase = "small",
                        .peak = {"evaluate", 67'000},
                        .step_bytes_sent = 13'000}};
  return budget;
}

TEST(BudgetTable, SaysOfEachShardWhetherItFits) {
  const PlanBudget budget = budget_of_shards();
  EXPECT_THAT(to_table(budget), HasSubstr(R"(
the plan has parallel.shard optimizer; each process would need
parallel.shard  peak memory  phase      when  sent a step
none               90.00 kB  large     train     12.00 kB
optimizer          67.00 kB  small  evaluate     13.00 kB
)"));
  EXPECT_THAT(to_table(budget, 67'000), HasSubstr(R"(
parallel.shard  peak memory  phase      when  sent a step  fits 67.00 kB
none               90.00 kB  large     train     12.00 kB             no
optimizer          67.00 kB  small  evaluate     13.00 kB            yes
)"));
  EXPECT_THAT(to_table(budget_of_two(), 67'000),
              Not(HasSubstr("parallel.shard")));
}

TEST(BudgetTable, JsonSaysOfEachShardWhetherItFits) {
  const Json json = to_json(budget_of_shards(), 67'000);
  EXPECT_EQ(json.at("shard"), "optimizer");
  EXPECT_EQ(json.at("memory_limit_bytes"), 67'000);
  ASSERT_EQ(json.at("all_shards").size(), 2u);
  const Json none = {{"shard", "none"},           {"peak_memory_bytes", 90'000},
                     {"phase", "large"},          {"peak_moment", "train"},
                     {"step_bytes_sent", 12'000}, {"fits", false}};
  EXPECT_EQ(json.at("all_shards").at(0), none);
  EXPECT_EQ(json.at("all_shards").at(1).at("fits"), true);
  EXPECT_FALSE(
      to_json(budget_of_shards()).at("all_shards").at(0).contains("fits"));
  EXPECT_FALSE(to_json(budget_of_two()).contains("all_shards"));
}

}  // namespace
}  // namespace annuli::budget

#include "annuli/budget/plan_budget.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "annuli/budget/plans_for_tests.h"
#include "annuli/budget/sizes.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/model/row_owners.h"

namespace annuli::budget {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kLarge = 3;

// A step of two windows, so that two processes can share it.
Plan shared_plan(Sharding shard, const Settings& settings = {}) {
  Plan plan =
      plan_of("tiny.yaml", joined(joined(of_all_phases("batch_size=2"),
                                         of_all_phases("micro_batch_size=1")),
                                  settings));
  plan.parallel.shard = shard;
  return plan;
}

PlanBudget shared_budget(Sharding shard, const Settings& settings = {},
                         int64_t processes = 2) {
  return plan_budget(shared_plan(shard, settings), {},
                     {.processes = processes});
}

// Entries of the process that owns most, by the rule's own words.
int64_t most_entries(const ModelConfig& config, int64_t processes) {
  return RowOwners(tensor_table(config), processes).most_entries();
}

TEST(SharedPlan, TheStateOfOwnersIsTheirOwnRows) {
  for (const Sharding shard : {Sharding::kOptimizer, Sharding::kFull}) {
    const PlanBudget budget = shared_budget(shard);
    for (const PhaseBudget& phase : budget.phases) {
      EXPECT_EQ(phase.optimizer, 8 * most_entries(phase.config, 2));
      // Saved by all together, and whole.
      EXPECT_EQ(phase.state_bytes, 12 * phase.parameters.total);
      EXPECT_EQ(phase.checkpoint_bytes % (4 * phase.parameters.total), 0);
    }
  }
  const PlanBudget whole = shared_budget(Sharding::kNone);
  for (const PhaseBudget& phase : whole.phases) {
    EXPECT_EQ(phase.optimizer, 8 * phase.parameters.total);
  }
}

// Codes and scales of matrices from 4096 entries on, fp32 of all others: by
// row.
TEST(SharedPlan, TheStateOfOwnersIsOfAnyOptimizer) {
  const auto expected = [](const ModelConfig& config, bool coded) {
    const TensorTable table = tensor_table(config);
    const RowOwners owners(table, 2);
    int64_t most = 0;
    for (const int64_t process : {0, 1}) {
      int64_t sum = 0;
      for (const size_t row : owners.rows_of(process)) {
        const int64_t n = table[row].numel();
        const std::vector<int64_t> shape = table[row].shape();
        if (!coded) {  // adafactor
          sum += 4 * (shape.size() == 2 ? shape[0] + shape[1] : n);
        } else if (shape.size() == 2 && n >= 4096) {
          sum += 2 * n + 2 * 4 * ((n + 255) / 256);
        } else {
          sum += 8 * n;
        }
      }
      most = std::max(most, sum);
    }
    return most;
  };
  const PlanBudget coded =
      shared_budget(Sharding::kFull, {"optimizer.type=adamw_8bit"});
  for (const PhaseBudget& phase : coded.phases) {
    EXPECT_EQ(phase.optimizer, expected(phase.config, true));
  }
  const PlanBudget factored =
      shared_budget(Sharding::kFull, {"optimizer.type=adafactor"});
  for (const PhaseBudget& phase : factored.phases) {
    EXPECT_EQ(phase.optimizer, expected(phase.config, false));
  }
}

std::map<std::string, int64_t> moments_of(
    Sharding shard, const std::vector<std::string>& changes = {}) {
  std::map<std::string, int64_t> bytes;
  const PlanBudget budget = shared_budget(shard, changes);
  for (const Moment& moment : budget.phases[kLarge].moments) {
    bytes[moment.name] = moment.bytes;
  }
  return bytes;
}

// Every moment is smaller; but to generate samples all weights are gathered.
TEST(SharedPlan, WeightsInPartsAreSoInEveryMoment) {
  const auto optimizer = moments_of(Sharding::kOptimizer);
  const auto full = moments_of(Sharding::kFull);
  const PhaseBudget phase = shared_budget(Sharding::kFull).phases[kLarge];
  const int64_t all = 4 * phase.parameters.total;
  for (const auto& [name, bytes] : optimizer) {
    // A pass fetches all of a parent of two layers, in the allocator's sizes.
    const int64_t rounding = name == "record the parent" ? 1 << 14 : 0;
    EXPECT_LT(full.at(name), bytes + rounding) << name;
    EXPECT_GT(full.at(name), bytes - all) << name;
  }
  EXPECT_FALSE(optimizer.contains("gather the weights"));
  EXPECT_GT(full.at("gather the weights"), all + phase.optimizer);
  EXPECT_FALSE(moments_of(Sharding::kFull, {"samples.prompts=[]"})
                   .contains("gather the weights"));
}

// Parents' and children's states are in parts too.
TEST(SharedPlan, GrowthHoldsPartsOfTheState) {
  const PlanBudget none = shared_budget(Sharding::kNone);
  const PlanBudget parts = shared_budget(Sharding::kOptimizer);
  for (size_t i = 1; i < 4; ++i) {
    const int64_t of_parent =
        none.phases[i - 1].optimizer - parts.phases[i - 1].optimizer;
    const int64_t of_child =
        none.phases[i].optimizer - parts.phases[i].optimizer;
    std::map<std::string, int64_t> less;
    for (size_t m = 0; m < none.phases[i].moments.size(); ++m) {
      const Moment& moment = none.phases[i].moments[m];
      less[moment.name] = moment.bytes - parts.phases[i].moments[m].bytes;
    }
    EXPECT_EQ(less.at("record the parent"), of_parent);
    EXPECT_EQ(less.at("grow the weights"), of_parent);
    EXPECT_EQ(less.at("prove the growth"), of_child);
    EXPECT_EQ(less.at("evaluate"), of_child);
    EXPECT_EQ(less.at("prove the phase"), of_child);
    // Beside the child's part: of one row what has come, the last of its parts
    // twice, and codes widened.
    const PhaseBudget& child = parts.phases[i];
    int64_t row = 0;
    for (const TensorSpec& spec : tensor_table(child.config)) {
      row = std::max(row, spec.numel());
    }
    for (const Moment& moment : child.moments) {
      if (moment.name != "grow the optimizer state") continue;
      const int64_t state = moment.bytes - child.weights;
      EXPECT_GE(state, child.optimizer);
      EXPECT_LE(state, child.optimizer + parts.phases[i - 1].optimizer +
                           (8 + 4 + 4 + 8) * row);
      EXPECT_LT(moment.bytes,
                none.phases[i].moments[&moment - &child.moments[0]].bytes);
    }
  }
}

TEST(SharedPlan, ComparesWhatProcessesCanHoldPartsOf) {
  const Plan plan = shared_plan(Sharding::kOptimizer);
  const auto all = compare_shards(plan, {.processes = 2});
  ASSERT_EQ(all.size(), 3u);
  for (const ShardPeak& one : all) {
    const PlanBudget budget = shared_budget(one.shard);
    EXPECT_EQ(one.peak.bytes, budget.peak_memory());
    EXPECT_EQ(one.peak.name, budget.largest().peak.name);
    EXPECT_EQ(one.phase, budget.largest().name);
    int64_t sent = 0;
    for (const PhaseBudget& phase : budget.phases) {
      sent = std::max(sent, phase.sending.bytes);
    }
    EXPECT_EQ(one.step_bytes_sent, sent);
  }
  EXPECT_EQ(all[0].shard, Sharding::kNone);
  EXPECT_EQ(all[2].shard, Sharding::kFull);
}

// What changes no bit and costs no time comes first; one process has nothing to
// share out.
TEST(SharedPlan, ProposesToHoldParts) {
  const auto seed = [](Sharding shard) {
    Plan plan =
        plan_of("seed.yaml", joined(of_all_phases("batch_size=2"),
                                    of_all_phases("micro_batch_size=1")));
    plan.parallel.shard = shard;
    return plan;
  };
  const Sharing two{.processes = 2};
  const auto peak = [&](Sharding shard) {
    return plan_budget(seed(shard), {}, two).peak_memory();
  };
  const auto advice = [&](Sharding shard, int64_t limit,
                          const Sharing& sharing) -> std::string {
    const Plan plan = seed(shard);
    try {
      require_fits(plan, plan_budget(plan, {}, sharing), limit);
    } catch (const VerdictError& error) {
      return error.what();
    }
    return "fits";
  };
  using enum Sharding;
  ASSERT_LT(peak(kOptimizer), peak(kNone));
  ASSERT_LE(peak(kFull), peak(kOptimizer));
  EXPECT_THAT(advice(kNone, peak(kOptimizer), two),
              HasSubstr(fmt::format(
                  "try parallel.shard=optimizer: {}",
                  format_bytes(static_cast<double>(peak(kOptimizer))))));
  if (peak(kFull) < peak(kOptimizer)) {
    EXPECT_THAT(advice(kNone, peak(kFull), two),
                HasSubstr("try parallel.shard=full"));
    EXPECT_THAT(advice(kOptimizer, peak(kFull), two),
                HasSubstr("try parallel.shard=full"));
  }
  EXPECT_THAT(advice(kFull, peak(kFull) - 1, two),
              Not(HasSubstr("parallel.shard")));
  EXPECT_THAT(advice(kNone, peak(kOptimizer), {}),
              Not(HasSubstr("parallel.shard")));
}

// Micro-batches of 2 would be six parts of the second phase, which four
// processes can't share.
TEST(SharedPlan, ProposesNothingThatProcessesCantShare) {
  const Plan plan =
      plan_of("tiny.yaml", joined(joined(of_all_phases("batch_size=16"),
                                         of_all_phases("micro_batch_size=4")),
                                  {"phases.moe.train.batch_size=12",
                                   "phases.moe.train.micro_batch_size=3"}));
  const PlanBudget budget = plan_budget(plan, {}, {.processes = 4});
  EXPECT_THROW(require_fits(plan, budget, 1000), VerdictError);
}

}  // namespace
}  // namespace annuli::budget

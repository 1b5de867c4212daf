#include "annuli/report/kept_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace annuli::report {
namespace {

// A loss that falls slowly, in phases of equal length.
RunHistory falling(size_t count, int32_t phases = 1) {
  RunHistory history;
  Steps& steps = history.steps;
  for (size_t i = 0; i < count; ++i) {
    steps.phase.push_back(
        static_cast<int32_t>(i * static_cast<size_t>(phases) / count));
    steps.step.push_back(static_cast<int64_t>(i) + 1);
  }
  for (std::vector<double>& column : steps.columns) {
    column.assign(count, kNotRecorded);
  }
  for (size_t i = 0; i < count; ++i) {
    steps.columns[kLoss][i] = 5 - 1e-6 * static_cast<double>(i);
    steps.columns[kGradNorm][i] = 1;
  }
  return history;
}

bool holds(const std::vector<size_t>& kept, size_t place) {
  return std::ranges::binary_search(kept, place);
}

TEST(KeptSteps, OfAShortHistoryAll) {
  EXPECT_EQ(kept_steps(falling(kAllSteps)).size(), kAllSteps);
  EXPECT_EQ(kept_steps(falling(1)), std::vector<size_t>{0});
}

TEST(KeptSteps, AMillionStepsKeepEverySpikeOfOneStep) {
  RunHistory history = falling(1'000'000);
  std::vector<double>& loss = history.steps.columns[kLoss];
  loss[3] += 1;
  loss[500'007] += 0.01;
  loss[999'998] -= 0.5;  // down, too
  history.steps.columns[kGradNorm][123'457] = 9;
  const std::vector<size_t> kept = kept_steps(history);
  for (const size_t spike : {3, 123'457, 500'007, 999'998}) {
    EXPECT_TRUE(holds(kept, spike)) << spike;
  }
  EXPECT_TRUE(holds(kept, 0));
  EXPECT_TRUE(holds(kept, 999'999));
  EXPECT_TRUE(std::ranges::is_sorted(kept));
  EXPECT_LT(kept.size(), kAllSteps);
}

TEST(KeptSteps, SpikesInOneSpanDoNotHideEachOther) {
  RunHistory history = falling(1'000'000);
  std::vector<double>& loss = history.steps.columns[kLoss];
  for (size_t i = 0; i < 10; ++i) {
    loss[400'000 + 3 * i] += 1 + 0.1 * static_cast<double>(i);
  }
  const std::vector<size_t> kept = kept_steps(history);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(holds(kept, 400'000 + 3 * i)) << i;
  }
}

TEST(KeptSteps, ThePeakOfASlowHumpStaysBesideManySpikes) {
  RunHistory history = falling(1'000'000);
  std::vector<double>& loss = history.steps.columns[kLoss];
  for (size_t i = 1; i <= 800; ++i) loss[1000 * i] += 2;
  for (size_t i = 900'000; i <= 901'000; ++i) {
    loss[i] += 1e-3 * (500 - std::abs(static_cast<double>(i) - 900'500));
  }
  EXPECT_TRUE(holds(kept_steps(history), 900'500));
}

TEST(KeptSteps, RisesThatWereRecordedStayThoughTheyAreNoPeaks) {
  RunHistory history = falling(100'000);
  for (const size_t i : {70'001, 70'011, 70'021}) {
    for (size_t k = 0; k < 5; ++k) {
      history.steps.columns[kLoss][i + k] += 1e-3 * static_cast<double>(i + k);
    }
    history.steps.columns[kLossRise][i] = 1;
  }
  const std::vector<size_t> kept = kept_steps(history);
  for (const size_t i : {70'001, 70'011, 70'021}) EXPECT_TRUE(holds(kept, i));
}

TEST(KeptSteps, TheStepsAroundAChangeOfPhaseStay) {
  const std::vector<size_t> kept = kept_steps(falling(200'000, 2));
  for (size_t i = 99'900; i < 100'100; ++i) EXPECT_TRUE(holds(kept, i)) << i;
  EXPECT_FALSE(holds(kept, 99'899) && holds(kept, 99'898) &&
               holds(kept, 99'897));
}

TEST(KeptSteps, ANormThatWasNotRecordedDoesNotHideOneThatWas) {
  RunHistory history = falling(100'000);
  std::ranges::fill(history.steps.columns[kGradNorm], kNotRecorded);
  history.steps.columns[kGradNorm][50'005] = 2;
  EXPECT_TRUE(holds(kept_steps(history), 50'005));
}

TEST(KeptSteps, OfARangeTheSameIsKept) {
  RunHistory history = falling(100'000, 4);
  history.steps.columns[kLoss][40'321] = 9;
  history.steps.columns[kLoss][9] = 9;
  const std::vector<size_t> kept = kept_steps(history, 40'000, 60'000);
  EXPECT_LT(kept.size(), 20'000u);
  EXPECT_TRUE(std::ranges::is_sorted(kept));
  EXPECT_EQ(kept.front(), 40'000u);
  EXPECT_EQ(kept.back(), 59'999u);
  EXPECT_THAT(kept, testing::IsSupersetOf({40'321u, 49'950u, 50'050u}));
  EXPECT_EQ(kept_steps(history, 40'000, 40'003),
            (std::vector<size_t>{40'000, 40'001, 40'002}));
  EXPECT_TRUE(kept_steps(history, 7, 7).empty());
}

}  // namespace
}  // namespace annuli::report

#include "annuli/train/loss_watch.h"

#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"

namespace annuli::train {
namespace {

// Losses around `level`, 0.1 nats to both sides.
LossWatch settled(double level, size_t count = LossWatch::kWindow) {
  LossWatch watch;
  const CounterRng rng(1, "losses");
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(watch.rise(level + 0.2 * (rng.uniform(i) - 0.5)), 0) << i;
  }
  return watch;
}

TEST(LossWatch, ASpikeIsMarkedWithItsHeight) {
  LossWatch watch = settled(5);
  EXPECT_EQ(watch.rise(5.4), 0);
  EXPECT_NEAR(watch.rise(7), 2, 0.1);
  EXPECT_EQ(watch.rise(5), 0);
}

TEST(LossWatch, FirstLossesAreNotJudged) {
  EXPECT_EQ(settled(5, LossWatch::kFewest - 1).rise(50), 0);
  EXPECT_GT(settled(5, LossWatch::kFewest).rise(50), 0);
}

// A steep descent is a wide window, not a row of spikes.
TEST(LossWatch, DescentIsNoSpike) {
  LossWatch watch;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(watch.rise(11 - 0.3 * i), 0);
  EXPECT_EQ(watch.rise(7), 0);
}

TEST(LossWatch, AHigherLevelIsMarkedUntilItIsTheRule) {
  LossWatch watch = settled(3);
  size_t marked = 0;
  for (size_t i = 0; i < 2 * LossWatch::kWindow; ++i) {
    marked += watch.rise(5) > 0 ? 1 : 0;
  }
  EXPECT_GE(marked, LossWatch::kWindow / 4);
  EXPECT_LE(marked, LossWatch::kWindow / 2 + 1);
}

TEST(LossWatch, GoesOnFromItsRecentLosses) {
  LossWatch whole = settled(5);
  LossWatch resumed(whole.recent());
  EXPECT_EQ(resumed.rise(6.3), whole.rise(6.3));
  EXPECT_EQ(resumed.recent(), whole.recent());
  EXPECT_THROW(LossWatch(std::vector<double>(LossWatch::kWindow + 1)),
               CheckFailure);
}

// Of 1 to 10 the median is 5.5, and distances from it are 0.5 to 4.5, twice
// each: their median is 2.5, so that losses up to 5.5 + 6 * 1.4826 * 2.5
// = 27.739 are usual. Of 1 to 9 it is 5 + 6 * 1.4826 * 2 = 22.7912.
TEST(LossWatch, TheLimitIsTheMediansAndTheDistances) {
  const auto rise = [](int count, double loss) {
    std::vector<double> recent;
    // In no order.
    for (int i = 0; i < count; ++i) recent.push_back(1 + (i * 7) % count);
    return LossWatch(recent).rise(loss);
  };
  EXPECT_EQ(rise(10, 27.738), 0);
  EXPECT_DOUBLE_EQ(rise(10, 27.740), 27.740 - 5.5);
  EXPECT_EQ(rise(9, 22.791), 0);
  EXPECT_DOUBLE_EQ(rise(9, 22.792), 22.792 - 5);
}

TEST(LossWatch, EqualLossesMayRiseByTheLeast) {
  const std::vector<double> equal(LossWatch::kWindow, 2);
  EXPECT_EQ(LossWatch(equal).rise(2.5), 0);
  EXPECT_DOUBLE_EQ(LossWatch(equal).rise(2.5625), 0.5625);
}

TEST(LossWatch, TheOldestLossIsForgotten) {
  LossWatch watch;
  for (size_t i = 0; i < LossWatch::kWindow + 2; ++i) {
    watch.rise(static_cast<double>(i));
  }
  ASSERT_EQ(watch.recent().size(), LossWatch::kWindow);
  EXPECT_EQ(watch.recent().front(), 2);
  EXPECT_EQ(watch.recent().back(), LossWatch::kWindow + 1);
}

}  // namespace
}  // namespace annuli::train

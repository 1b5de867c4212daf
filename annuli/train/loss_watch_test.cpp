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

}  // namespace
}  // namespace annuli::train

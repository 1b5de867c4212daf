// A few faults of every kind, and that the harness can lose: each judge is
// shown what it must not let pass.

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/core/file.h"
#include "tests/faults/cases.h"
#include "tests/faults/damage.h"
#include "tests/faults/judge.h"

namespace annuli::faults {
namespace {

using ::testing::HasSubstr;

class FaultsTest : public testing::Test {
 protected:
  fs::path path(const std::string& name) const { return root_ / name; }

  test::ScratchFolder scratch_;
  fs::path root_ = fs::canonical(scratch_.path());
};

// What it cannot see is that the next start was told otherwise.
TEST_F(FaultsTest, AnotherSeedIsLost) {
  Scenes scenes("plans/tiny.yaml", root_);
  const Training& training = scenes.training();
  Script fresh(path("fresh"));
  EXPECT_THAT(training.finish(fresh, {"--set", "seed=43"}),
              HasSubstr("differs"));
  EXPECT_EQ(training.finish(fresh, {"--force"}), "");
  Script killed(path("killed"));
  killed.run(training.arguments(killed), killed.fault("all:99:kill-after"));
  EXPECT_TRUE(killed.fault_came());
  EXPECT_NE(training.finish(killed, {"--set", "seed=43"}), "");
}

}  // namespace
}  // namespace annuli::faults

#include "annuli/budget/machine_rates.h"

#include <gtest/gtest.h>

namespace annuli::budget {
namespace {

// No measure of speed: between what the slowest machine does under a sanitizer
// and what none does lie seven powers of ten, and a factor that is missing or
// upside down is outside of them.
TEST(MachineRates, AreThoseOfAMachine) {
  for (const at::ScalarType operands : {at::kFloat, at::kBFloat16}) {
    const MachineRates rates = measure_rates(operands);
    EXPECT_GT(rates.product_flops, 1e8);
    EXPECT_LT(rates.product_flops, 1e15);
    EXPECT_GT(rates.memory_bytes, 1e7);
    EXPECT_LT(rates.memory_bytes, 1e13);
  }
}

TEST(MachineRates, CanBeGiven) {
  const auto rates = parse_rates("1.5T,2GB");
  ASSERT_TRUE(rates);
  EXPECT_EQ(rates->product_flops, 1.5e12);
  EXPECT_EQ(rates->memory_bytes, 2e9);
  EXPECT_TRUE(rates->are_given);
  EXPECT_EQ(parse_rates("5e9,1MiB")->product_flops, 5e9);
}

TEST(MachineRates, AreRefusedIfTheyAreNone) {
  for (const char* text : {"", "300T", ",", "300T,", ",2TB", "300X,2TB",
                           "300TT,2TB", "-1T,2TB", "0,2TB", "nan,2TB",
                           "inf,1TB", "1T,0", "1T,2TB,3", "T,2TB", " 1T,2TB"}) {
    EXPECT_FALSE(parse_rates(text)) << text;
  }
}

}  // namespace
}  // namespace annuli::budget

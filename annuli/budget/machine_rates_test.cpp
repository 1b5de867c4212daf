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

}  // namespace
}  // namespace annuli::budget

#include "annuli/kernels/normal_fill.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace annuli::kernels {
namespace {

TEST(NormalFill, AgreesWithBoxMullerInDoublePrecision) {
  const CounterRng rng(11, "numbers");
  std::vector<float> numbers(4096);
  normal_numbers(rng, 0, numbers);
  for (uint64_t block = 0; block < numbers.size() / 4; ++block) {
    const auto words = rng.block(block);
    for (int half = 0; half < 4; half += 2) {
      const double u = ((words[half] >> 8) + 1.0) * 0x1.0p-24;
      const double t = (words[half + 1] >> 8) * 0x1.0p-24;
      const double radius = std::sqrt(-2 * std::log(u));
      const double angle = 2 * std::numbers::pi * t;
      EXPECT_NEAR(numbers[4 * block + half], radius * std::cos(angle), 1e-6);
      EXPECT_NEAR(numbers[4 * block + half + 1], radius * std::sin(angle),
                  1e-6);
    }
  }
}

TEST(NormalFill, NumbersDoNotDependOnWhereABlockBegins) {
  const CounterRng rng(11, "numbers");
  std::vector<float> whole(5000), part(700);
  normal_numbers(rng, 0, whole);
  normal_numbers(rng, 1000, part);
  for (size_t i = 0; i < part.size(); ++i) EXPECT_EQ(part[i], whole[1000 + i]);
}

TEST(NormalFill, HasTheMomentsOfANormal) {
  at::Tensor x = at::empty({1000003}, at::kDouble);
  fill_normal(x, CounterRng(5, "moments"), 0.5);
  const double n = static_cast<double>(x.numel());
  // Five standard errors: std / sqrt(n), and sqrt(2 / n) relative.
  EXPECT_NEAR(x.mean().item<double>(), 0, 5 * 0.5 / std::sqrt(n));
  EXPECT_NEAR(x.square().mean().item<double>() / 0.25, 1, 5 * std::sqrt(2 / n));
  // Kurtosis 3, standard error sqrt(96 / n).
  EXPECT_NEAR(x.pow(4).mean().item<double>() / 0.0625, 3,
              5 * std::sqrt(96 / n));
}

}  // namespace
}  // namespace annuli::kernels

#include "annuli/kernels/quantize/weight_codes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::same_bits;

at::Tensor widened(const CodedMatrix& matrix,
                   at::ScalarType type = at::kFloat) {
  at::Tensor values = at::empty(matrix.codes.sizes(), type);
  from_codes(matrix, values);
  return values;
}

CodedMatrix coded_at_random(const at::Tensor& values, const CounterRng& rng) {
  CodedMatrix matrix = to_codes(values);
  to_codes_at_random(values, rng, matrix);
  return matrix;
}

// Rows of several blocks, of one, of a shorter last one; scales far apart.
std::vector<at::Tensor> matrices() {
  std::vector<at::Tensor> all;
  for (const int64_t columns : {512, 96, 344, 263, 1}) {
    at::Tensor values = random_tensor({41, columns}, "x", at::kFloat);
    values.mul_(
        at::ldexp(at::ones({41, 1}),
                  at::arange(-130, 115, 6).narrow(0, 0, 41).unsqueeze(1)));
    values[3].zero_();
    values[4][0] = std::numeric_limits<float>::infinity();
    values[5][0] = std::numeric_limits<float>::quiet_NaN();
    values[6].fill_(127);
    values[7].fill_(127.5);
    values[8].fill_(std::numeric_limits<float>::max());
    all.push_back(values);
  }
  return all;
}

TEST(WeightCodes, BlocksOfTwiceTheColumnsAreAsLong) {
  EXPECT_EQ(code_block(256), 256);
  EXPECT_EQ(code_block(2048), 256);
  EXPECT_EQ(code_block(96), 96);
  EXPECT_EQ(code_block(384), 192);
  EXPECT_EQ(code_block(768), 192);
  EXPECT_EQ(code_block(11008), 172);
  EXPECT_EQ(code_block(514), 256);  // 257 is too long
}

TEST(WeightCodes, AgreeWithReferenceToTheBit) {
  for (const at::Tensor& values : matrices()) {
    const CodedMatrix found = to_codes(values);
    const CodedMatrix expected = reference::to_codes(values);
    EXPECT_TRUE(same_bits(found.codes, expected.codes));
    EXPECT_TRUE(same_bits(found.exponents, expected.exponents));
    const CounterRng rng(7, "codes");
    const CodedMatrix fallen = coded_at_random(values, rng);
    CodedMatrix plain{at::empty_like(found.codes),
                      at::empty_like(found.exponents)};
    reference::to_codes_at_random(values, rng, plain);
    EXPECT_TRUE(same_bits(fallen.codes, plain.codes));
    EXPECT_TRUE(same_bits(fallen.exponents, plain.exponents));
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      at::Tensor wide = at::empty(values.sizes(), type);
      reference::from_codes(found, wide);
      EXPECT_TRUE(wide.isnan().equal(widened(found, type).isnan()));
      EXPECT_TRUE(wide.nan_to_num(0).equal(widened(found, type).nan_to_num(0)));
    }
  }
}

TEST(WeightCodes, AreBf16NumbersAndStayWhatTheyAre) {
  const at::Tensor values = random_tensor({64, 512}, "x", at::kFloat);
  const at::Tensor wide = widened(to_codes(values));
  EXPECT_TRUE(
      widened(to_codes(values), at::kBFloat16).to(at::kFloat).equal(wide));
  EXPECT_FALSE(are_codes(values));
  EXPECT_TRUE(are_codes(wide));
  EXPECT_TRUE(are_codes(wide.to(at::kBFloat16)));
  EXPECT_TRUE(widened(coded_at_random(wide, CounterRng(3, "x"))).equal(wide));
  // Half of a block's step from a code is the most.
  const double most =
      (code_steps(values) / 2 - (wide - values).abs()).min().item<double>();
  EXPECT_GE(most, 0);
}

TEST(WeightCodes, PowersOfTwoMoveScalesAlone) {
  const CodedMatrix once = to_codes(random_tensor({8, 512}, "x", at::kFloat));
  const CodedMatrix eighth = to_codes(widened(once) / 8);
  EXPECT_TRUE(widened(eighth).equal(widened(once) / 8));
  EXPECT_FALSE(are_codes(widened(once) / 3));
}

// Laid beside one another, blocks of one parent's block are codes; entries of
// two blocks in one are not.
TEST(WeightCodes, TilesAreCodesAndMixedBlocksAreNot) {
  for (const int64_t columns : {96, 192, 384, 512, 1376}) {
    at::Tensor values = random_tensor({6, columns}, "x", at::kFloat);
    values.narrow(1, 0, std::min<int64_t>(columns, 100)).mul_(0.01);
    const at::Tensor wide = widened(to_codes(values));
    EXPECT_TRUE(are_codes(at::cat({wide, wide / 2}, 0)));
    EXPECT_TRUE(are_codes(at::cat({wide / 2, wide / 2}, 1))) << columns;
  }
  at::Tensor values = random_tensor({6, 512}, "x", at::kFloat);
  values.narrow(1, 0, 256).mul_(0.01);
  EXPECT_FALSE(are_codes(widened(to_codes(values)).roll(100, 1)));
}

// The mean of n roundings, each off by less than a step: five deviations of the
// uniform error's mean. To nearest every one of them is lost.
TEST(WeightCodes, FallSoThatTheMeanStays) {
  constexpr int kTimes = 4096;
  at::Tensor values = at::full({kTimes, 64}, 50.3F);
  values.select(1, 0).fill_(100);
  values.select(1, 1).fill_(-0.02F);
  const at::Tensor fallen =
      widened(coded_at_random(values, CounterRng(1, "m")));
  const double limit = 5 * 0.5 / std::sqrt(kTimes);
  const at::Tensor off = (fallen.mean(0) - values.mean(0)).abs();
  EXPECT_LT(off.max().item<double>(), limit);
  EXPECT_GT((widened(to_codes(values)).mean(0) - values.mean(0))
                .abs()
                .max()
                .item<double>(),
            limit);
}

TEST(WeightCodes, SameBitsForAnyThreadCount) {
  const at::Tensor values = random_tensor({301, 263}, "x", at::kFloat);
  const CounterRng rng(7, "codes");
  set_num_threads(1);
  const CodedMatrix one = coded_at_random(values, rng);
  const at::Tensor wide = widened(one);
  set_num_threads(2);
  EXPECT_TRUE(same_bits(coded_at_random(values, rng).codes, one.codes));
  EXPECT_TRUE(same_bits(widened(one), wide));
}

}  // namespace
}  // namespace annuli::kernels

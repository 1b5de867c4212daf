#include "annuli/kernels/quantize/block_quantization.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::same_bits;

// Magnitudes over nine decades, so that every code is met.
at::Tensor sample(Codes kind, int64_t size) {
  const at::Tensor x = random_tensor({size}, "x");
  const at::Tensor decades = random_tensor({size}, "decades").abs() * -2;
  at::Tensor values = x * decades.exp2().pow(3);
  if (kind == Codes::kUnsigned) values = values.abs();
  return values.to(at::kFloat).contiguous();
}

at::Tensor round_trip(const at::Tensor& values, Codes kind) {
  const Quantized coded = quantize(values, kind);
  return dequantize(coded.codes, coded.scales, kind);
}

class Quantization : public testing::TestWithParam<Codes> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Quantization,
                         testing::Values(Codes::kSigned, Codes::kUnsigned));

TEST_P(Quantization, ValuesAreThoseOfDynamicQuantisation) {
  const auto& values = code_values(GetParam());
  EXPECT_TRUE(std::ranges::is_sorted(values));
  EXPECT_EQ(std::ranges::adjacent_find(values), values.end());
  EXPECT_EQ(values.back(), 1);
  EXPECT_EQ(std::ranges::count(values, 0.0F), 1);
  // bitsandbytes' create_dynamic_map: the middles of linspace(0.1, 1, n + 1).
  const bool is_signed = GetParam() == Codes::kSigned;
  EXPECT_FLOAT_EQ(values[254], is_signed ? 0.99296875F : 0.996484375F);
  EXPECT_FLOAT_EQ(values[is_signed ? 128 : 1], is_signed ? 5.5e-7F : 3.25e-7F);
  EXPECT_FLOAT_EQ(values[0], is_signed ? -0.99296875F : 0);
}

TEST_P(Quantization, AgreesWithTheNearestValueToTheBit) {
  at::Tensor values = sample(GetParam(), 100003);
  values[7] = 0.0;  // the only number that is coded as 0 without a sign
  const Quantized fast = quantize(values, GetParam());
  const Quantized slow = reference::quantize(values, GetParam());
  EXPECT_TRUE(same_bits(fast.codes, slow.codes));
  EXPECT_TRUE(same_bits(fast.scales, slow.scales));
  std::vector<bool> met(256);
  for (int64_t i = 0; i < values.numel(); ++i) {
    met[slow.codes[i].item<int64_t>()] = true;
  }
  EXPECT_EQ(std::ranges::count(met, true), 256);
}

// At each border between two codes, and one number above it.
TEST_P(Quantization, FindsEachBorder) {
  const auto& values = code_values(GetParam());
  std::vector<float> borders;
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle =
        static_cast<float>((double{values[i]} + values[i + 1]) / 2);
    borders.push_back(middle);
    borders.push_back(std::nextafter(middle, 2.0F));
    borders.push_back(std::nextafter(middle, -2.0F));
  }
  std::vector<at::Tensor> blocks;
  for (size_t i = 0; i < borders.size(); i += 200) {
    at::Tensor block = at::zeros({kQuantizedBlock}, at::kFloat);
    block[0] = 1;
    for (size_t j = 0; j < 200 && i + j < borders.size(); ++j) {
      block[static_cast<int64_t>(j) + 1] = borders[i + j];
    }
    blocks.push_back(block);
  }
  const at::Tensor all = at::cat(blocks);
  EXPECT_TRUE(same_bits(quantize(all, GetParam()).codes,
                        reference::quantize(all, GetParam()).codes));
}

// Half the distance of two codes: 0.9 / 128 / 2 of the scale, signed; half of
// that, unsigned.
TEST_P(Quantization, ErrsByHalfAStepOfTheScale) {
  const at::Tensor values = sample(GetParam(), 256 * 40);
  const at::Tensor error =
      (round_trip(values, GetParam()) - values).abs().view({40, 256}).amax(1);
  const at::Tensor scale = quantize(values, GetParam()).scales.abs();
  const double step = 0.9 / (GetParam() == Codes::kSigned ? 64 : 128) / 2;
  const double worst = (error / scale).max().item<double>();
  EXPECT_LE(worst, step * (1 + 1e-5));
  EXPECT_GE(worst, step / 2) << "a limit that is never neared";
}

TEST_P(Quantization, CodingWhatWasCodedChangesNothing) {
  const at::Tensor values = sample(GetParam(), 256 * 100 + 17);
  const at::Tensor once = round_trip(values, GetParam());
  EXPECT_TRUE(same_bits(round_trip(once, GetParam()), once));
  // Growth scales by powers of two.
  EXPECT_TRUE(same_bits(round_trip(once / 4, GetParam()) * 4, once));
}

TEST_P(Quantization, SameBitsForAnyThreadCount) {
  const at::Tensor values = sample(GetParam(), 256 * 300 + 5);
  set_num_threads(1);
  const at::Tensor one = round_trip(values, GetParam());
  set_num_threads(2);
  EXPECT_TRUE(same_bits(round_trip(values, GetParam()), one));
}

TEST(Quantization, TheLargestEntryComesBackWithEitherSign) {
  for (const double sign : {1.0, -1.0}) {
    at::Tensor values = at::zeros({300}, at::kFloat);
    values[3] = sign * 0.7;
    values[4] = -sign * 0.31;
    const at::Tensor back = round_trip(values, Codes::kSigned);
    EXPECT_EQ(back[3].item<float>(), values[3].item<float>());
    EXPECT_LT(back[4].item<float>() * sign, 0);
    EXPECT_EQ(back[299].item<float>(), 0);
  }
}

TEST(Quantization, APositiveSecondMomentNeverBecomesZero) {
  at::Tensor values = at::zeros({256}, at::kFloat);
  values[0] = 1;
  values[1] = 1e-30;
  const at::Tensor back = round_trip(values, Codes::kUnsigned);
  EXPECT_FLOAT_EQ(back[1].item<float>(), 3.25e-7F);
  EXPECT_EQ(back[2].item<float>(), 0);
  // The control: the first moment may.
  EXPECT_EQ(round_trip(values, Codes::kSigned)[1].item<float>(), 0);
}

TEST(Quantization, BlocksOfNothingAreZero) {
  at::Tensor values = at::zeros({512}, at::kFloat);
  values[300] = 1e-40;  // below what has a reciprocal
  EXPECT_EQ(round_trip(values, Codes::kUnsigned).abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace annuli::kernels

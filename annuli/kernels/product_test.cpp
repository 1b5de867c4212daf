#include "annuli/kernels/product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

// Products of bf16 numbers are exact, so both sides differ by the rounding of
// fp32 sums of K terms only: sqrt(K) eps of their own size, and the entries of
// such a product are of size sqrt(K), the largest some 4 times that.
double tolerance(int64_t K) { return 4 * std::sqrt(K) * 0x1p-23; }

at::Tensor bf16(at::IntArrayRef shape, const std::string& name) {
  return random_tensor(shape, name, at::kBFloat16);
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor out = at::empty({a.size(0), b.size(1)}, at::kFloat);
  multiply(out, a, b);
  return out;
}

// The processor's choice, and bf16's own instructions whatever it chose.
// 33 x 70 x 50: no size is a multiple of a vector.
TEST(Product, SumsExactProductsInAnyOrientation) {
  const at::Tensor a = bf16({33, 70}, "a");
  const at::Tensor b = bf16({70, 50}, "b");
  const at::Tensor expected = at::matmul(a.to(at::kDouble), b.to(at::kDouble));
  for (const at::Tensor& left : {a, a.t().contiguous().t()}) {
    for (const at::Tensor& right : {b, b.t().contiguous().t()}) {
      EXPECT_LE(relative_error(product(left, right), expected), tolerance(70));
      EXPECT_LE(
          relative_error(product(operand(left), operand(right)), expected),
          tolerance(70));
    }
  }
  // The control: a sum rounded to bf16 is seen.
  EXPECT_GT(relative_error(expected.to(at::kBFloat16), expected),
            tolerance(70));
}

TEST(Product, AddsToWhatIsThere) {
  for (at::ScalarType type : {at::kBFloat16, at::kFloat}) {
    const at::Tensor a = bf16({5, 16}, "a").to(type);
    const at::Tensor b = bf16({16, 7}, "b").to(type);
    at::Tensor out = product(a, b);
    const at::Tensor once = out.clone();
    multiply(out, a, b, /*accumulate=*/true);
    EXPECT_LE(relative_error(out, once * 2), tolerance(16));
  }
}

TEST(Product, SameBitsForAnyNumberOfThreads) {
  const at::Tensor a = bf16({300, 512}, "a");
  const at::Tensor b = bf16({512, 640}, "b");
  set_num_threads(1);
  const at::Tensor one = product(operand(a), operand(b));
  set_num_threads(2);
  EXPECT_TRUE(test::same_bits(one, product(operand(a), operand(b))));
}

TEST(Operand, IsTheNumberRoundedToBf16) {
  const at::Tensor x = random_tensor({37, 501}, "x", at::kFloat);
  const at::Tensor expected = x.to(at::kBFloat16);
  EXPECT_TRUE(test::same_bits(narrowed(x), expected));
  EXPECT_EQ(narrowed(x).scalar_type(), at::kBFloat16);
  EXPECT_TRUE(test::same_bits(operand(x).to(at::kBFloat16), expected));
  EXPECT_TRUE(test::same_bits(operand(x), operand(expected)));
  EXPECT_EQ(operand(x).scalar_type(), operand_type());
  // Turned: the strides are kept.
  EXPECT_TRUE(test::same_bits(operand(x.t()), operand(x).t()));
  EXPECT_EQ(operand(x.t()).stride(0), 1);
}

TEST(Bf16, RoundsTiesToEvenAndKeepsWhatIsNotFinite) {
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 0x3p-8f)), 1.0f + 0x1p-6f);
  EXPECT_EQ(from_bf16(to_bf16(-1.0f - 0x1.1p-8f)), -1.0f - 0x1p-7f);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(from_bf16(to_bf16(infinity)), infinity);
  EXPECT_EQ(from_bf16(to_bf16(std::numeric_limits<float>::max())), infinity);
  const float nan = std::bit_cast<float>(0x7fffffffu);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(nan))));
}

}  // namespace
}  // namespace annuli::kernels

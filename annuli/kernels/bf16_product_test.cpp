#include "annuli/kernels/bf16_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

constexpr double kEps = 0x1p-23;

// Products of bf16 numbers are exact, so both sides differ by the rounding of
// fp32 sums of K terms only: sqrt(K) eps of their own size, and the entries of
// such a product are of size sqrt(K), the largest some 4 times that.
double tolerance(int64_t K) { return 4 * std::sqrt(K) * kEps; }

at::Tensor bf16(at::IntArrayRef shape, const std::string& name) {
  return random_tensor(shape, name, at::kBFloat16);
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor out = at::empty({a.size(0), b.size(1)}, at::kFloat);
  bf16_product(out, a, b);
  return out;
}

// 33 x 70 x 50: no size is a multiple of a vector.
TEST(Bf16Product, SumsExactProductsInAnyOrientation) {
  const at::Tensor a = bf16({33, 70}, "a");
  const at::Tensor b = bf16({70, 50}, "b");
  const at::Tensor expected = at::matmul(a.to(at::kDouble), b.to(at::kDouble));
  const at::Tensor turned_a = a.t().contiguous().t();
  const at::Tensor turned_b = b.t().contiguous().t();
  for (const at::Tensor& left : {a, turned_a}) {
    for (const at::Tensor& right : {b, turned_b}) {
      EXPECT_LE(relative_error(product(left, right), expected), tolerance(70));
    }
  }
  // The control: a sum rounded to bf16 is seen.
  EXPECT_GT(relative_error(expected.to(at::kBFloat16), expected),
            tolerance(70));
}

TEST(Bf16Product, AddsToWhatIsThere) {
  const at::Tensor a = bf16({5, 16}, "a");
  const at::Tensor b = bf16({16, 7}, "b");
  at::Tensor out = product(a, b);
  const at::Tensor once = out.clone();
  bf16_product(out, a, b, /*accumulate=*/true);
  EXPECT_LE(relative_error(out, once * 2), tolerance(16));
}

TEST(Bf16Product, SameBitsForAnyNumberOfThreads) {
  const at::Tensor a = bf16({300, 512}, "a");
  const at::Tensor b = bf16({512, 640}, "b");
  set_num_threads(1);
  const at::Tensor one = product(a, b);
  set_num_threads(2);
  EXPECT_TRUE(test::same_bits(one, product(a, b)));
}

TEST(Bf16Linear, RoundsOperandsAndNothingElse) {
  const at::Tensor x = random_tensor({3, 11, 24}, "x", at::kFloat);
  const at::Tensor weight = random_tensor({40, 24}, "weight", at::kFloat);
  const at::Tensor bias = random_tensor({40}, "bias", at::kFloat);
  const auto linear = [&](const auto& in) {
    return bf16_linear(in[0], in[1], in[1].detach().to(at::kBFloat16), in[2]);
  };
  const auto found = test::value_and_gradients(linear, {x, weight, bias});
  const auto rounded = [](const at::Tensor& t) {
    return t.to(at::kBFloat16).to(at::kDouble);
  };
  const at::Tensor y = reference::bf16_linear(x, weight, bias);
  EXPECT_LE(relative_error(found.value, y), tolerance(24));
  const at::Tensor dy =
      random_tensor({3, 11, 40}, "weights", at::kFloat).view({33, 40});
  const at::Tensor dx = at::matmul(rounded(dy), rounded(weight));
  const at::Tensor dw = at::matmul(rounded(dy).t(), rounded(x).view({33, 24}));
  EXPECT_LE(relative_error(found.gradients[0].view({33, 24}), dx),
            tolerance(40));
  EXPECT_LE(relative_error(found.gradients[1], dw), tolerance(33));
  EXPECT_LE(relative_error(found.gradients[2], dy.sum(0)), tolerance(33));
  // The control: unrounded operands are seen.
  EXPECT_GT(relative_error(at::matmul(dy.t(), x.view({33, 24})), dw),
            tolerance(33));
}

}  // namespace
}  // namespace annuli::kernels

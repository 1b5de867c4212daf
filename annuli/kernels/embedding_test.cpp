#include "annuli/kernels/embedding.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "annuli/kernels/linear.h"
#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

// Token 3 three times, token 0 never.
at::Tensor tokens() {
  return at::tensor({3, 1, 4, 3, 2, 3}, at::kLong).view({2, 3});
}

// A model in small: rows of the table, and a product with it.
at::Tensor shared(const std::vector<at::Tensor>& in) {
  const SharedEmbedding both =
      shared_embedding(in[0], tokens(), in[0].scalar_type());
  return linear(both.rows, {{.matrix = {both.table}}})[0];
}
at::Tensor apart(const std::vector<at::Tensor>& in) {
  return at::matmul(reference::embedding(in[0], tokens()), in[0].t());
}

TEST(Embedding, AgreesWithReference) {
  const std::vector<at::Tensor> in{random_tensor({5, 70}, "table")};
  const auto a = test::value_and_gradients(
      [](const auto& x) { return embedding(x[0], tokens(), at::kDouble); }, in);
  const auto b = test::value_and_gradients(
      [](const auto& x) { return reference::embedding(x[0], tokens()); }, in);
  EXPECT_TRUE(test::same_bits(a.value, b.value));
  // Sums of three.
  EXPECT_LE(relative_error(a.gradients[0], b.gradients[0]), 2 * 0x1p-52);
}

TEST(Embedding, GradientMatchesFiniteDifferences) {
  const std::vector<at::Tensor> in{random_tensor({5, 3}, "table")};
  EXPECT_LE(
      test::finite_difference_error(
          [](const auto& x) { return embedding(x[0], tokens(), at::kDouble); },
          in),
      test::kFiniteDifferenceTolerance);
  EXPECT_LE(test::finite_difference_error(shared, in),
            test::kFiniteDifferenceTolerance);
}

// 6 rows and products of 70 terms, in another order.
TEST(Embedding, SharedTableGetsBothGradientsInOne) {
  const std::vector<at::Tensor> in{random_tensor({5, 70}, "table")};
  const auto a = test::value_and_gradients(shared, in);
  const auto b = test::value_and_gradients(apart, in);
  EXPECT_LE(relative_error(a.value, b.value), 40 * 0x1p-52);
  EXPECT_LE(relative_error(a.gradients[0], b.gradients[0]), 40 * 0x1p-52);
}

TEST(Embedding, SharedTableThatOnlyTheRowsReadGetsTheirGradient) {
  const std::vector<at::Tensor> in{random_tensor({5, 7}, "table")};
  const auto a = test::value_and_gradients(
      [](const auto& x) {
        return shared_embedding(x[0], tokens(), at::kDouble).rows;
      },
      in);
  const auto b = test::value_and_gradients(
      [](const auto& x) { return embedding(x[0], tokens(), at::kDouble); }, in);
  EXPECT_TRUE(test::same_bits(a.gradients[0], b.gradients[0]));
}

TEST(Embedding, SameBitsForAnyNumberOfThreads) {
  const std::vector<at::Tensor> in{
      random_tensor({5, 200}, "table", at::kFloat)};
  const auto f = [](const auto& x) {
    return embedding(x[0], tokens(), at::kFloat);
  };
  EXPECT_TRUE(test::same_bits_for_any_threads(f, in));
}

TEST(Embedding, WidensABf16Table) {
  const at::Tensor table = random_tensor({5, 9}, "table", at::kBFloat16);
  const at::Tensor rows = embedding(table, tokens(), at::kFloat);
  EXPECT_EQ(rows.scalar_type(), at::kFloat);
  EXPECT_TRUE(test::same_bits(
      rows, reference::embedding(table, tokens()).to(at::kFloat)));
}

}  // namespace
}  // namespace annuli::kernels

#include "annuli/kernels/symmetric_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;
using test::same_bits;

template <typename Multiply>
at::Tensor product(const Multiply& multiply, const at::Tensor& a,
                   const at::Tensor& b) {
  at::Tensor out = at::empty({a.size(0), a.size(0)}, a.options());
  multiply(out, a, b);
  return out;
}

// One panel, several, a last one that is narrow; and a block of the turned part
// that is.
class SymmetricProduct : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, SymmetricProduct,
                         testing::Values(1, 33, 64, 65, 300, 512));

// Sums of K terms in any order: as in product_test.cpp.
TEST_P(SymmetricProduct, IsTheProductAndSymmetric) {
  const int64_t K = 70;
  for (const auto type : {at::kFloat, at::kDouble}) {
    const at::Tensor x = random_tensor({GetParam(), K}, "x", type);
    const at::Tensor turned = x.t().contiguous();
    const double limit =
        4 * std::sqrt(K) * (type == at::kDouble ? 0x1p-52 : 0x1p-23);
    const at::Tensor expected = x.to(at::kDouble).mm(x.to(at::kDouble).t());
    for (const at::Tensor& a : {x, turned.t()}) {
      const at::Tensor found = product(multiply_symmetric, a, a.t());
      EXPECT_LE(relative_error(found, expected), limit);
      EXPECT_TRUE(same_bits(found, found.t()));
      const at::Tensor plain = product(reference::multiply_symmetric, a, a.t());
      EXPECT_LE(relative_error(plain, expected), limit);
      EXPECT_TRUE(same_bits(plain, plain.t()));
    }
  }
}

TEST_P(SymmetricProduct, SameBitsForAnyNumberOfThreads) {
  const at::Tensor x = random_tensor({GetParam(), 512}, "x", at::kFloat);
  set_num_threads(1);
  const at::Tensor one = product(multiply_symmetric, x, x.t());
  set_num_threads(2);
  EXPECT_TRUE(same_bits(one, product(multiply_symmetric, x, x.t())));
}

TEST(SymmetricProduct, RefusesWhatIsNotSquare) {
  const at::Tensor x = random_tensor({3, 4}, "x", at::kFloat);
  EXPECT_THROW(product(multiply_symmetric, x, x), CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels

#include "annuli/model/projection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

// 2^23 entries are widened at once: 600 rows of 2^14 take two blocks. Products
// of other row counts may round differently: eps in fp64, not in fp32.
TEST(Projection, WidensAFewRowsAtATime) {
  const at::Tensor x = at::randn({2, 1 << 14}, at::kDouble);
  const at::Tensor weight = at::randn({600, 1 << 14}, at::kFloat);
  const at::Tensor bias = at::randn({600}, at::kFloat);
  const at::Tensor expected =
      at::linear(x, weight.to(at::kDouble), bias.to(at::kDouble));
  const at::Tensor found = project(x, weight, bias);
  EXPECT_EQ(found.scalar_type(), at::kDouble);
  EXPECT_LT(tiny::relative_error(expected, found), 1e-14);
  // The control: in fp32 it is seen, so it was not computed in fp32.
  const at::Tensor single = at::linear(x.to(at::kFloat), weight, bias);
  EXPECT_GT(tiny::relative_error(expected, single), 1e-8);
}

TEST(Projection, TakesTurnedWeights) {
  const at::Tensor x = at::randn({3, 8}, at::kDouble);
  const at::Tensor weight = at::randn({8, 5}, at::kBFloat16).t();
  EXPECT_LT(tiny::relative_error(at::linear(x, weight.to(at::kDouble)),
                                 project(x, weight)),
            1e-15);
}

}  // namespace
}  // namespace annuli

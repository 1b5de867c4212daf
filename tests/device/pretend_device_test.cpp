// The pretend device itself: each thing that it is there to notice is done, and
// it notices.

#include "tests/support/pretend_device.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "tests/support/tensor_checks.h"

namespace annuli::test {
namespace {

at::Tensor on_device(at::IntArrayRef shape, const std::string& name) {
  return random_tensor(shape, name).to(pretend_device());
}

TEST(PretendDevice, ComputesWhatTheCpuComputes) {
  const at::Tensor a = random_tensor({3, 4}, "a");
  const at::Tensor b = random_tensor({4, 2}, "b");
  const at::Tensor c =
      at::mm(a.to(pretend_device()), b.to(pretend_device())).t() * 2;
  EXPECT_EQ(c.device(), pretend_device());
  EXPECT_TRUE(same_bits(c.cpu(), at::mm(a, b).t() * 2));
}

TEST(PretendDevice, BackwardRunsThere) {
  const at::Tensor x = on_device({5, 3}, "x").requires_grad_(true);
  (x * x).sum().backward();
  EXPECT_EQ(x.grad().device(), pretend_device());
  EXPECT_TRUE(same_bits(x.grad().cpu(), 2 * random_tensor({5, 3}, "x")));
}

TEST(PretendDevice, CountsWhatADeviceWouldWaitFor) {
  begin_counting();
  const at::Tensor x = on_device({5, 3}, "x");
  const at::Tensor y = (x + x).narrow(0, 1, 2).t();
  y.sum().item<double>();
  y.cpu();
  const DeviceCounts seen = counted();
  EXPECT_EQ(seen.operators, 2) << seen.line();  // add, sum
  EXPECT_EQ(seen.items, 1);
  EXPECT_EQ(seen.to_device, 1);
  EXPECT_EQ(seen.to_host, 1);
}

TEST(PretendDevice, RefusesTensorsOnTwoDevices) {
  const at::Tensor x = on_device({3}, "x");
  EXPECT_THROW(x + at::ones({3}, at::kDouble), c10::Error);
  EXPECT_THROW(x.index_select(0, at::ones({1}, at::kLong)), c10::Error);
  EXPECT_NO_THROW(x + at::ones({}, at::kDouble));
}

using PretendDeviceDeathTest = testing::Test;

TEST(PretendDeviceDeathTest, ATouchByTheHostNamesTheTensor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const at::Tensor x = on_device({3}, "x");
        const at::Tensor y = x + x;
        EXPECT_EQ(y.const_data_ptr<double>()[0], 0);
      },
      "the host touched a tensor of the pretend device: 4096 bytes, made by "
      "aten::add");
}

}  // namespace
}  // namespace annuli::test

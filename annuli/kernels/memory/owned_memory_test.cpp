#include "annuli/kernels/memory/owned_memory.h"

#include <gtest/gtest.h>

#include "annuli/core/memory.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

constexpr int64_t kMegabyte = 1000 * 1000;

TEST(OwnedMemory, GivesItsPagesBackWhenItDies) {
  const int64_t before = current_resident_bytes();
  at::Tensor tensor = owned_empty({50 * kMegabyte}, at::kFloat);
  tensor.fill_(1);
  const int64_t alive = current_resident_bytes();
  tensor.reset();
  const int64_t after = current_resident_bytes();
  // 200 MB came and went; 20 MB for what else the process did meanwhile.
  EXPECT_GT(alive - before, 180 * kMegabyte);
  EXPECT_LT(after - before, 20 * kMegabyte);
}

TEST(OwnedMemory, LivesAsLongAsAViewOfIt) {
  at::Tensor view;
  {
    at::Tensor tensor = owned_zeros({4, kMegabyte}, at::kFloat);
    tensor.select(0, 2).fill_(7);
    view = tensor.select(0, 2);
  }
  EXPECT_EQ(view.sum().item<double>(), 7.0 * kMegabyte);
}

TEST(OwnedMemory, ZerosAreZeroLargeAndSmall) {
  EXPECT_EQ(owned_zeros({kMegabyte}, at::kDouble).abs().max().item<double>(),
            0);
  EXPECT_EQ(owned_zeros({3}, at::kDouble).abs().max().item<double>(), 0);
  EXPECT_EQ(owned_zeros({0, 5}, at::kFloat).numel(), 0);
}

TEST(OwnedMemory, CopyIsEqualAndSeparate) {
  for (int64_t n : {int64_t{10}, kMegabyte}) {
    at::Tensor source = test::random_tensor({n, 2}, "source", at::kFloat).t();
    at::Tensor copy = owned_copy(source);
    EXPECT_TRUE(copy.is_contiguous());
    EXPECT_TRUE(test::same_bits(copy, source));
    source.fill_(0);
    EXPECT_FALSE(test::same_bits(copy, source));
  }
}

}  // namespace
}  // namespace annuli::kernels

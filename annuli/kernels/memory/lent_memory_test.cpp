#include "annuli/kernels/memory/lent_memory.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

// One from the heap, one with a mapping of its own.
TEST(LentMemory, ComesBackForAllWhoReferToTheTensor) {
  for (const int64_t count : {int64_t{12}, int64_t{1} << 20}) {
    const at::Tensor values = at::arange(count, at::kFloat);
    const at::Tensor tensor = owned_copy(values);
    const at::Tensor view = tensor.view({2, -1})[1];
    EXPECT_TRUE(has_memory(tensor));
    give_up_memory(tensor);
    EXPECT_FALSE(has_memory(tensor));
    EXPECT_THROW(tensor.const_data_ptr<float>(), c10::Error);
    const uint32_t version = tensor._version();
    at::Tensor memory = owned_copy(values + 1);
    take_memory(tensor, std::move(memory));
    EXPECT_TRUE(has_memory(tensor));
    EXPECT_TRUE(test::same_bits(tensor, values + 1));
    EXPECT_TRUE(test::same_bits(view, (values + 1).view({2, -1})[1]));
    EXPECT_EQ(tensor._version(), version) << "a graph would refuse it";
  }
}

TEST(LentMemory, IsOfWholeTensors) {
  const at::Tensor tensor = at::arange(6, at::kFloat);
  EXPECT_THROW(give_up_memory(tensor.narrow(0, 1, 3)), CheckFailure);
  EXPECT_THROW(take_memory(tensor, at::arange(5, at::kFloat)), CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels

#include "annuli/budget/size_ops.h"

#include <gtest/gtest.h>

#include "annuli/kernels/product.h"
#include "tests/support/tiny_model.h"

// What single operations count; whole steps: step_memory_test.cpp.
namespace annuli::budget {
namespace {

constexpr int64_t kRows = 4096;

class SizeOpsTest : public testing::TestWithParam<Precision> {
 protected:
  const ModelConfig config_ = tiny::config({.mixture = true, .gated = true});
  const NumberTypes numbers_ = number_types(GetParam());
  SizeOps pass_{config_, numbers_, kRows, 16};

  bool narrow() const { return GetParam() == Precision::kBf16Mixed; }
  // Of the stream's width: in fp32, and as a product reads it.
  int64_t stream() const { return tensor_bytes(kRows * 24, at::kFloat); }
  int64_t operand() const {
    return tensor_bytes(kRows * 24, narrow() ? at::kBFloat16 : at::kFloat);
  }
};

// Once as it is; once more as a product reads it, where that is another type.
TEST_P(SizeOpsTest, ATensorThatSeveralKeepCountsOnce) {
  const SizeOps::Value x = pass_.embed({});
  EXPECT_EQ(pass_.kept(), 0);
  for (int again = 0; again < 2; ++again) {
    pass_.norm(x, {Part::kInputNorm}, 0, Reader::kProducts);
    EXPECT_EQ(pass_.kept(), stream());
  }
  for (int again = 0; again < 2; ++again) {
    pass_.project(x, {Part::kO}, 0);
    EXPECT_EQ(pass_.kept(), stream() + (narrow() ? operand() : 0));
  }
  // Another of the same size is another.
  pass_.norm(pass_.embed({}), {Part::kInputNorm}, 0, Reader::kProducts);
  EXPECT_EQ(pass_.kept(), 2 * stream() + (narrow() ? operand() : 0));
}

// The logits of 512 tokens and the rows' gradient. Narrow products also read
// the table and, of the logits' gradients (or, without fast products, of the
// rows), a copy in the processor's operand type.
TEST_P(SizeOpsTest, TheHeadHoldsABlockOfLogits) {
  const int64_t V = config_.vocab_size;
  pass_.cross_entropy(pass_.embed({}), Part::kEmbedding, {});
  int64_t expected = tensor_bytes(512 * V, at::kFloat) + stream();
  if (narrow()) {
    const at::ScalarType operand = kernels::operand_type();
    const int64_t entries = kernels::bf16_is_fast() ? 512 * V : kRows * 24;
    expected += tensor_bytes(entries, operand) + tensor_bytes(V * 24, operand);
  }
  EXPECT_EQ(pass_.head(), expected);
}

INSTANTIATE_TEST_SUITE_P(Types, SizeOpsTest,
                         testing::Values(Precision::kFp32,
                                         Precision::kBf16Mixed));

}  // namespace
}  // namespace annuli::budget

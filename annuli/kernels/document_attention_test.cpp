#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"
#include "annuli/kernels/documents.h"
#include "tests/support/finite_difference.h"

// Attention within documents.
namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

// Documents of these lengths, one after the other, in each sequence.
at::Tensor documents_of(const std::vector<std::vector<int64_t>>& lengths) {
  std::vector<at::Tensor> sequences;
  for (const auto& of_sequence : lengths) {
    std::vector<int64_t> first;
    for (const int64_t length : of_sequence) {
      first.insert(first.end(), length, std::ssize(first));
    }
    sequences.push_back(at::tensor(first, at::kLong));
  }
  return at::stack(sequences);
}

struct Shape {
  int64_t B, T, H, K, head_dim;
};

std::vector<at::Tensor> inputs(const Shape& s, at::ScalarType dtype) {
  return {random_tensor({s.B, s.T, s.H, s.head_dim}, "q", dtype),
          random_tensor({s.B, s.T, s.K, s.head_dim}, "k", dtype),
          random_tensor({s.B, s.T, s.K, s.head_dim}, "v", dtype)};
}

// Half of each head is turned, as in GPT-NeoX.
RotaryTable table_of(const at::Tensor& q) {
  return rotary_table(
      0, q.size(1),
      rotary_frequencies(q.size(3) / 2, 100.0, q.scalar_type(), at::kCPU));
}

at::Tensor attend(const std::vector<at::Tensor>& in,
                  const at::Tensor& documents) {
  return rotary_attention(in[0], in[1], in[2], table_of(in[0]),
                          in[0].scalar_type(), documents);
}

struct DocumentCase {
  const char* name;
  Shape shape;
  std::vector<std::vector<int64_t>> lengths;
};

class DocumentAttention : public testing::TestWithParam<DocumentCase> {
 protected:
  at::Tensor documents() const { return documents_of(GetParam().lengths); }
  std::vector<at::Tensor> inputs_of(at::ScalarType dtype) const {
    return inputs(GetParam().shape, dtype);
  }
  test::TensorFunction own() const {
    return [documents = documents()](const std::vector<at::Tensor>& in) {
      return attend(in, documents);
    };
  }

  // The limit of attention_test.cpp.
  void expect_agreement(at::ScalarType dtype, double eps) const {
    const auto in = inputs_of(dtype);
    const auto fast = test::value_and_gradients(own(), in);
    const auto slow = test::value_and_gradients(
        [&](const auto& x) {
          return reference::document_attention(x[0], x[1], x[2], table_of(x[0]),
                                               documents());
        },
        in);
    const double limit =
        4 * 16 * std::sqrt(static_cast<double>(GetParam().shape.head_dim)) *
        eps;
    EXPECT_LE(relative_error(fast.value, slow.value), limit);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_LE(relative_error(fast.gradients[i], slow.gradients[i]), limit)
          << "input " << i;
    }
  }
};

TEST_P(DocumentAttention, AgreesWithReferenceFp32) {
  expect_agreement(at::kFloat, 0x1p-23);
}

TEST_P(DocumentAttention, AgreesWithReferenceFp64) {
  expect_agreement(at::kDouble, 0x1p-52);
}

TEST_P(DocumentAttention, SameBitsForAnyThreadCount) {
  EXPECT_TRUE(test::same_bits_for_any_threads(own(), inputs_of(at::kFloat)));
}

// The value, and the gradients of its entries' sum weighted by `weights`.
std::vector<at::Tensor> value_and_gradients_by(const at::Tensor& weights,
                                               std::vector<at::Tensor> in,
                                               const at::Tensor& documents) {
  for (at::Tensor& x : in) x = x.detach().clone().set_requires_grad(true);
  const at::Tensor value = attend(in, documents);
  (value * weights).sum().backward();
  return {value.detach(), in[0].grad(), in[1].grad(), in[2].grad()};
}

// Value and gradients have the bits of documents that are run apart.
TEST_P(DocumentAttention, IsThatOfDocumentsRunApart) {
  const auto in = inputs_of(at::kFloat);
  const at::Tensor weights = random_tensor(in[0].sizes(), "w", at::kFloat);
  const auto whole = value_and_gradients_by(weights, in, documents());
  for (size_t b = 0; b < GetParam().lengths.size(); ++b) {
    int64_t begin = 0;
    for (const int64_t length : GetParam().lengths[b]) {
      const auto part = [&](const at::Tensor& x) {
        return x.narrow(0, static_cast<int64_t>(b), 1)
            .narrow(1, begin, length)
            .contiguous();
      };
      const auto alone = value_and_gradients_by(
          part(weights), {part(in[0]), part(in[1]), part(in[2])}, {});
      for (size_t i = 0; i < alone.size(); ++i) {
        EXPECT_TRUE(test::same_bits(part(whole[i]), alone[i]))
            << begin << " result " << i;
      }
      begin += length;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Documents, DocumentAttention,
    testing::Values(
        DocumentCase{"some", {2, 40, 4, 4, 16}, {{7, 33}, {1, 20, 19}}},
        DocumentCase{"grouped", {2, 33, 6, 2, 8}, {{33}, {5, 28}}},
        DocumentCase{
            "longer_than_blocks", {1, 300, 2, 1, 8}, {{70, 129, 1, 100}}},
        DocumentCase{"single_tokens", {1, 6, 2, 2, 8}, {{1, 1, 1, 1, 1, 1}}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(DocumentBorders, OneDocumentIsNoMask) {
  const auto in = inputs({2, 40, 4, 2, 16}, at::kFloat);
  EXPECT_TRUE(
      test::same_bits(attend(in, documents_of({{40}, {40}})), attend(in, {})));
}

// As without documents: the result is rounded and nothing else is.
TEST(DocumentBorders, RoundsItsResultToBf16) {
  const auto in = inputs({1, 40, 4, 2, 16}, at::kFloat);
  const at::Tensor documents = documents_of({{9, 31}});
  const at::Tensor narrow = rotary_attention(
      in[0], in[1], in[2], table_of(in[0]), at::kBFloat16, documents);
  EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(
      test::same_bits(narrow.to(at::kFloat),
                      attend(in, documents).to(at::kBFloat16).to(at::kFloat)));
}

// The controls: another border is seen, and so are positions that go on.
TEST(DocumentBorders, AnotherBorderIsSeen) {
  const auto in = inputs({1, 40, 2, 2, 8}, at::kDouble);
  const at::Tensor right = attend(in, documents_of({{20, 20}}));
  EXPECT_GT(relative_error(attend(in, {}), right), 0.01);
  EXPECT_GT(relative_error(attend(in, documents_of({{21, 19}})), right), 0.01);
}

// A product with a number that is none is none: had anything been computed of
// what is hidden, and masked, results of other documents would show it.
TEST(DocumentBorders, WhatIsHiddenIsNotComputed) {
  const std::vector<int64_t> lengths = {5, 70, 40, 13};
  const at::Tensor documents = documents_of({lengths});
  const auto in = inputs({1, 128, 4, 2, 16}, at::kFloat);
  const at::Tensor by = random_tensor(in[0].sizes(), "by", at::kFloat);
  const auto clean = value_and_gradients_by(by, in, documents);
  int64_t begin = 0;
  for (const int64_t length : lengths) {
    SCOPED_TRACE(begin);
    std::vector<at::Tensor> spoiled;
    for (const at::Tensor& x : {in[0], in[1], in[2], by}) {
      spoiled.push_back(x.clone());
      spoiled.back().narrow(1, begin, length).fill_(std::nan(""));
    }
    const at::Tensor spoiled_by = spoiled.back();
    spoiled.pop_back();
    const auto beside = value_and_gradients_by(spoiled_by, spoiled, documents);
    const int64_t end = begin + length;
    for (size_t i = 0; i < clean.size(); ++i) {
      EXPECT_TRUE(test::same_bits(clean[i].narrow(1, 0, begin),
                                  beside[i].narrow(1, 0, begin)));
      EXPECT_TRUE(test::same_bits(clean[i].narrow(1, end, 128 - end),
                                  beside[i].narrow(1, end, 128 - end)));
    }
    begin = end;
  }
}

TEST(DocumentBorders, DocumentsThatCannotBeAreRefused) {
  const auto ranges = [](std::vector<int64_t> first) {
    return document_ranges(at::tensor(first, at::kLong).unsqueeze(0), 1, 4);
  };
  EXPECT_EQ(ranges({0, 0, 2, 2})[0].size(), 2u);
  EXPECT_THROW(ranges({1, 1, 2, 2}), CheckFailure) << "it begins nowhere";
  EXPECT_THROW(ranges({0, 0, 1, 1}), CheckFailure) << "a place that has been";
  EXPECT_THROW(ranges({0, 0, 3, 3}), CheckFailure) << "a place to come";
  EXPECT_THROW(ranges({0, 0, 2}), CheckFailure) << "too few";
}

}  // namespace
}  // namespace annuli::kernels

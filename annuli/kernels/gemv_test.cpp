#include "annuli/kernels/gemv.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::same_bits;

// The largest |error| of an entry over what the header promises for it:
//   (min(n, 1024) / 16 + n / 1024 + 8) u sum |w x|
// (64 products in a lane, 16 lanes and the blocks added up, the bias). Both
// factors are fp32 here, so fp64 sums stand for exact ones.
double share_of_bound(const at::Tensor& y, const at::Tensor& x,
                      const at::Tensor& weight, const at::Tensor& bias = {}) {
  const auto n = static_cast<double>(weight.size(1));
  const double roundings = std::min(n, 1024.0) / 16 + n / 1024 + 8;
  const at::Tensor size = reference::gemv(x.abs(), weight.abs(),
                                          bias.defined() ? bias.abs() : bias);
  const at::Tensor error = (y - reference::gemv(x, weight, bias)).abs();
  return (error / (size * (roundings * 0x1p-24))).max().item<double>();
}

struct Operands {
  std::string name;
  at::Tensor weight;
  at::Tensor x;  // [11, columns]
};

// Sizes about the borders of lanes, lines, groups, tasks and blocks.
std::vector<Operands> operands() {
  std::vector<Operands> list;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t rows : {1, 3, 25, 50}) {
      for (const int64_t columns : {2, 15, 32, 57, 1024, 1030, 2600}) {
        list.push_back(
            {fmt::format("{} {} x {}", c10::toString(dtype), rows, columns),
             random_tensor({rows, columns}, "w", at::kFloat).to(dtype),
             random_tensor({11, columns}, "x", at::kFloat)});
      }
    }
  }
  return list;
}

TEST(Gemv, IsWithinItsBoundOfTheReference) {
  for (const auto& [name, weight, all] : operands()) {
    const at::Tensor bias = random_tensor({weight.size(0)}, "b", at::kFloat);
    for (const int64_t M : {1, 2, 5, 8, 11}) {
      const at::Tensor x = all.narrow(0, 0, M);
      EXPECT_LE(share_of_bound(gemv(x, weight), x, weight), 1) << name << M;
      EXPECT_LE(share_of_bound(gemv(x, weight, bias), x, weight, bias), 1)
          << name << M;
    }
  }
}

// The control: a product that misses its last column, or reads two columns in
// the other order, is far outside.
TEST(Gemv, TheBoundSeesAWrongColumn) {
  for (const auto& [name, weight, x] : operands()) {
    at::Tensor damaged = x.clone();
    damaged.select(1, -1).zero_();
    EXPECT_GT(share_of_bound(gemv(damaged, weight), x, weight), 100) << name;
    at::Tensor swapped = x.clone();
    swapped.select(1, 0).copy_(x.select(1, 1));
    swapped.select(1, 1).copy_(x.select(1, 0));
    EXPECT_GT(share_of_bound(gemv(swapped, weight), x, weight), 100) << name;
  }
}

TEST(Gemv, ARowHasTheSameBitsAloneAndAmongOthers) {
  for (const auto& [name, weight, x] : operands()) {
    std::vector<at::Tensor> alone;
    for (int64_t m = 0; m < 11; ++m) {
      alone.push_back(gemv(x.narrow(0, m, 1), weight));
    }
    for (int64_t M = 1; M <= 11; ++M) {
      EXPECT_TRUE(same_bits(gemv(x.narrow(0, 0, M), weight),
                            at::cat(alone).narrow(0, 0, M)))
          << name << ", " << M;
    }
  }
}

TEST(Gemv, SameBitsForAnyThreadCount) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight =
        random_tensor({1000, 300}, "w", at::kFloat).to(dtype);
    const at::Tensor x = random_tensor({3, 300}, "x", at::kFloat);
    set_num_threads(1);
    const at::Tensor one = gemv(x, weight);
    set_num_threads(2);
    EXPECT_TRUE(same_bits(one, gemv(x, weight)));
  }
}

TEST(Gemv, ManyProductsAreEachAsAlone) {
  const at::Tensor x = random_tensor({2, 70}, "x", at::kFloat);
  const at::Tensor other = random_tensor({3, 40}, "other", at::kFloat);
  const at::Tensor a = random_tensor({500, 70}, "a", at::kFloat);
  const at::Tensor b = random_tensor({301, 70}, "b", at::kFloat);
  const at::Tensor c =
      random_tensor({400, 40}, "c", at::kFloat).to(at::kBFloat16);
  const auto product = [](const at::Tensor& x, const at::Tensor& w,
                          at::Tensor& y) {
    y = at::empty({x.size(0), w.size(0)}, x.options());
    return Product{.weight = row_matrix(w),
                   .x = x.const_data_ptr<float>(),
                   .x_stride = x.size(1),
                   .M = x.size(0),
                   .y = y.mutable_data_ptr<float>(),
                   .y_stride = y.size(1)};
  };
  at::Tensor ya, yb, yc;
  multiply(std::vector<Product>{product(x, a, ya), product(x, b, yb),
                                product(other, c, yc)});
  EXPECT_TRUE(same_bits(ya, gemv(x, a)));
  EXPECT_TRUE(same_bits(yb, gemv(x, b)));
  EXPECT_TRUE(same_bits(yc, gemv(other, c)));
}

// Rows that are a part of longer ones, as in a mapped file.
TEST(Gemv, ReadsRowsAtAnyStride) {
  const at::Tensor wide = random_tensor({60, 90}, "w", at::kFloat);
  const at::Tensor part = wide.narrow(1, 7, 50);
  const at::Tensor x = random_tensor({1, 50}, "x", at::kFloat);
  EXPECT_TRUE(same_bits(gemv(x, part), gemv(x, part.contiguous())));
}

// What lies beside a row must not be read into it.
TEST(Gemv, DoesNotReadBeyondARow) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor wide = at::full({30, 41}, nan, at::TensorOptions(dtype));
    wide.narrow(1, 0, 37).fill_(0.5);
    const at::Tensor x = at::full({1, 37}, 2.0f, at::TensorOptions(at::kFloat));
    const at::Tensor y = gemv(x, wide.narrow(1, 0, 37));
    EXPECT_TRUE((y == 37).all().item<bool>());
  }
}

// Codes give the bits of the bf16 matrix that they say.
TEST(Gemv, CodesGiveTheBitsOfBf16) {
  for (const auto& [name, weight, all] : operands()) {
    if (weight.scalar_type() != at::kFloat) continue;
    at::Tensor scaled = weight.clone();
    scaled.narrow(1, 0, scaled.size(1) / 2).mul_(0.01);
    const CodedMatrix codes = to_codes(scaled);
    if (!is_row_matrix(codes)) continue;
    at::Tensor wide = at::empty(weight.sizes(), at::kBFloat16);
    from_codes(codes, wide);
    for (const int64_t M : {1, 2, 5, 8, 11}) {
      const at::Tensor x = all.narrow(0, 0, M).contiguous();
      at::Tensor y = at::empty({M, weight.size(0)}, at::kFloat);
      const Product product{.weight = row_matrix(codes),
                            .x = x.const_data_ptr<float>(),
                            .x_stride = x.size(1),
                            .M = M,
                            .y = y.mutable_data_ptr<float>(),
                            .y_stride = y.size(1)};
      multiply({&product, 1});
      EXPECT_TRUE(same_bits(y, gemv(x, wide))) << name << M;
    }
  }
}

TEST(Gemv, ReadsCodesWhoseBlocksAreLines) {
  EXPECT_TRUE(is_row_matrix(to_codes(at::zeros({3, 57}))));
  EXPECT_TRUE(is_row_matrix(to_codes(at::zeros({3, 384}))));
  EXPECT_FALSE(is_row_matrix(to_codes(at::zeros({3, 11008}))));  // of 172
}

TEST(Gemv, KeepsTheShapeOfWhatItIsAppliedTo) {
  const at::Tensor x = random_tensor({2, 3, 20}, "x", at::kFloat);
  const at::Tensor w = random_tensor({7, 20}, "w", at::kFloat);
  EXPECT_EQ(gemv(x, w).sizes(), at::IntArrayRef({2, 3, 7}));
  EXPECT_EQ(gemv(x.narrow(1, 0, 0), w).sizes(), at::IntArrayRef({2, 0, 7}));
}

TEST(Gemv, KnowsWhichTensorsItCanRead) {
  const at::Tensor w = random_tensor({8, 20}, "w", at::kFloat);
  EXPECT_TRUE(is_row_matrix(w));
  EXPECT_TRUE(is_row_matrix(w.to(at::kBFloat16)));
  EXPECT_TRUE(is_row_matrix(w.narrow(1, 3, 9)));
  EXPECT_FALSE(is_row_matrix(w.to(at::kDouble)));
  EXPECT_FALSE(is_row_matrix(w.to(at::kHalf)));
  EXPECT_FALSE(is_row_matrix(w.t()));
  EXPECT_FALSE(is_row_matrix(w.flatten()));
}

}  // namespace
}  // namespace annuli::kernels

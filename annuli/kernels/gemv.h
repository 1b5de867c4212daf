#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "annuli/kernels/quantize/weight_codes.h"

// Matrix products with few rows, y = x W^T + b: what decoding is made of. Every
// weight is used once or a few times, so the time is that of reading W.
//
// Guarantees: fp32 accumulation, whatever W is stored in; the same bits for any
// number of threads; a row of x gives the same bits alone and among others, and
// whatever other products are computed beside it. They are not those of
// at::linear, which sums in another order.
//
// A sum of n products is formed in blocks of 1024, in 16 lanes each. So its
// error is at most (min(n, 1024) / 16 + n / 1024 + 8) u sum |w x|, with
// u = 2^-24: smaller than that of a plain loop.
namespace annuli::kernels {

// The rows of a matrix as they lie in memory.
struct RowMatrix {
  const void* data = nullptr;
  at::ScalarType dtype = at::kFloat;  // or at::kBFloat16, or at::kChar: codes
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;  // entries from one row to the next
  // Of codes (quantize/weight_codes.h): those of a row's blocks, row by row.
  const int8_t* exponents = nullptr;

  int64_t bytes() const;
};

// Whether a tensor is such a matrix: two dimensions, on CPU, fp32 or bf16, its
// rows contiguous.
bool is_row_matrix(const at::Tensor& weight);
RowMatrix row_matrix(const at::Tensor& weight);
// The same of codes, on CPU: blocks are a row, or whole lines of 32. A product
// has the bits of the matrix that they are widened to, in bf16.
bool is_row_matrix(const CodedMatrix& codes);
RowMatrix row_matrix(const CodedMatrix& codes);

// M rows of x, `x_stride` apart, times W, give M rows of y, `y_stride` apart. x
// and y may be any memory that does not overlap.
struct Product {
  RowMatrix weight;
  const float* bias = nullptr;  // [rows], or none
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t M = 1;
  float* y = nullptr;
  int64_t y_stride = 0;
};

// All of them, in one parallel loop over the rows of their weights: one wait
// for q, k and v, or for all the experts of a token. Any M; meant for up to
// about 8, beyond which a matrix library is faster.
void multiply(std::span<const Product> products);

// x: [..., columns] fp32 -> [..., rows] fp32, no gradient. bias: undefined, or
// any floating type.
at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias = {});

namespace reference {
// The same in fp64, as fp64.
at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias = {});
}  // namespace reference

}  // namespace annuli::kernels

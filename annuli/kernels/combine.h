#pragma once

#include <ATen/core/Tensor.h>

// The two data movements of a mixture: token rows out to the experts' blocks,
// and the experts' rows back into one row per token.
namespace annuli::kernels {

// x: [N, D], token: [N * k] -> [N * k, D], row r a copy of x[token[r]].
// `row` is the inverse: row[n * k + i] are the k places of token n. The
// gradient of a token is the sum of its k rows, in the order of i.
at::Tensor gather_tokens(const at::Tensor& x, const at::Tensor& token,
                         const at::Tensor& row);

// y: [M, D], row: [N * k], gates: [N, k] -> [N, D],
//   out_n = y1 + sum_{i>1} g_i (y_i - y1),  y_i = y[row[n * k + i]].
// No row of y is used twice; rows that are not used get a zero gradient.
at::Tensor combine(const at::Tensor& y, const at::Tensor& row,
                   const at::Tensor& gates);

namespace reference {
at::Tensor gather_tokens(const at::Tensor& x, const at::Tensor& token);
at::Tensor combine(const at::Tensor& y, const at::Tensor& row,
                   const at::Tensor& gates);
}  // namespace reference

}  // namespace annuli::kernels

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

// The two data movements of a mixture: token rows out to the experts' blocks,
// and the experts' rows back into one row per token. Rows are numbered through
// all blocks, in order.
namespace annuli::kernels {

// x: [N, D]; token, row: [N * k]. Block b gets `sizes[b]` rows, row r a copy of
// x[token[r]], as x's type or, for fp32, bf16. `row` is the inverse of `token`:
// row[n * k + i] are the k places of token n. A token's gradient, of x's type,
// is the sum of its k rows, in the order of i.
std::vector<at::Tensor> gather_tokens(const at::Tensor& x,
                                      const at::Tensor& token,
                                      const at::Tensor& row,
                                      const std::vector<int64_t>& sizes,
                                      at::ScalarType type);

// blocks: [.., D] each, row: [N * k], gates: [N, k] -> [N, D],
//   out_n = y1 + sum_{i>1} g_i (y_i - y1),  y_i the row row[n * k + i].
// No row is used twice; rows that are not used get a zero gradient.
at::Tensor combine(const std::vector<at::Tensor>& blocks, const at::Tensor& row,
                   const at::Tensor& gates);

namespace reference {
at::Tensor gather_tokens(const at::Tensor& x, const at::Tensor& token);
at::Tensor combine(const at::Tensor& y, const at::Tensor& row,
                   const at::Tensor& gates);
}  // namespace reference

}  // namespace annuli::kernels

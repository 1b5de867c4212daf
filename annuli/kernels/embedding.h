#pragma once

#include <ATen/core/Tensor.h>

// Rows of an embedding table. Gradients are of the rows' type, whatever the
// table is stored in, and the rows' gradients are added in the order of the
// tokens: the same bits for any number of threads. CPU; other devices take
// LibTorch's.
namespace annuli::kernels {

// table: [V, D] of any floating type, tokens: [...] int64 -> [..., D] as `type`
// (fp32 or fp64).
at::Tensor embedding(const at::Tensor& table, const at::Tensor& tokens,
                     at::ScalarType type);

// For a table that is the head too. `table` stands for it in the head's
// product: its gradient, [V, D] already, takes up the rows' gradients, and the
// table gets one gradient where it would have got the sum of two.
struct SharedEmbedding {
  at::Tensor rows;
  at::Tensor table;
};
SharedEmbedding shared_embedding(const at::Tensor& table,
                                 const at::Tensor& tokens, at::ScalarType type);

namespace reference {
at::Tensor embedding(const at::Tensor& table, const at::Tensor& tokens);
}

}  // namespace annuli::kernels

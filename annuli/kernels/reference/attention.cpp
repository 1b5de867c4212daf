#include "annuli/kernels/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>

namespace annuli::kernels {

at::Tensor reference::causal_attention(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v) {
  const int64_t T = q.size(1);
  const int64_t S = k.size(1);
  const int64_t group = q.size(2) / k.size(2);
  at::Tensor queries = q.transpose(1, 2);  // [B, H, T, hd]
  at::Tensor keys = at::repeat_interleave(k, group, 2).transpose(1, 2);
  at::Tensor values = at::repeat_interleave(v, group, 2).transpose(1, 2);
  at::Tensor scores = at::matmul(queries, keys.transpose(2, 3)) /
                      std::sqrt(static_cast<double>(q.size(3)));
  // Query t sees keys 0 .. S - T + t.
  const at::Tensor visible =
      at::ones({T, S}, q.options().dtype(at::kBool)).tril(S - T);
  scores = scores.masked_fill(visible.logical_not(),
                              -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1), values).transpose(1, 2);
}

}  // namespace annuli::kernels

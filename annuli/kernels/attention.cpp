#include "annuli/kernels/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>
#include <optional>

#include "annuli/core/error.h"

namespace annuli::kernels {

namespace {

// [T, S], true where query t may see the key.
at::Tensor visible_keys(int64_t T, int64_t S, at::Device device) {
  auto options = at::TensorOptions(at::kBool).device(device);
  return at::ones({T, S}, options).tril(S - T);
}

void check_shapes(const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v) {
  ANNULI_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes());
  ANNULI_CHECK(q.size(2) % k.size(2) == 0, "{} heads over {} kv heads",
               q.size(2), k.size(2));
  ANNULI_CHECK(k.size(1) >= q.size(1), "{} keys for {} queries", k.size(1),
               q.size(1));
}

}  // namespace

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
  check_shapes(q, k, v);
  const int64_t T = q.size(1);
  const int64_t S = k.size(1);
  const bool square = T == S;
  std::optional<at::Tensor> mask;
  if (!square && T > 1) mask = visible_keys(T, S, q.device());
  return at::scaled_dot_product_attention(
             q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask,
             /*dropout_p=*/0.0, /*is_causal=*/square && T > 1,
             /*scale=*/std::nullopt, /*enable_gqa=*/q.size(2) != k.size(2))
      .transpose(1, 2);
}

at::Tensor reference::causal_attention(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v) {
  check_shapes(q, k, v);
  const int64_t T = q.size(1);
  const int64_t S = k.size(1);
  const int64_t group = q.size(2) / k.size(2);
  at::Tensor queries = q.transpose(1, 2);  // [B, H, T, hd]
  at::Tensor keys = at::repeat_interleave(k, group, 2).transpose(1, 2);
  at::Tensor values = at::repeat_interleave(v, group, 2).transpose(1, 2);
  at::Tensor scores = at::matmul(queries, keys.transpose(2, 3)) /
                      std::sqrt(static_cast<double>(q.size(3)));
  scores = scores.masked_fill(visible_keys(T, S, q.device()).logical_not(),
                              -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1), values).transpose(1, 2);
}

}  // namespace annuli::kernels

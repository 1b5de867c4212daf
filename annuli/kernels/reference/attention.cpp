#include "annuli/kernels/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>
#include <vector>

namespace annuli::kernels {

namespace {

// `visible`: of [B, H, T, S], true where a query sees the key.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, const at::Tensor& visible) {
  const int64_t group = q.size(2) / k.size(2);
  at::Tensor queries = q.transpose(1, 2);  // [B, H, T, hd]
  at::Tensor keys = at::repeat_interleave(k, group, 2).transpose(1, 2);
  at::Tensor values = at::repeat_interleave(v, group, 2).transpose(1, 2);
  at::Tensor scores = at::matmul(queries, keys.transpose(2, 3)) /
                      std::sqrt(static_cast<double>(q.size(3)));
  scores = scores.masked_fill(visible.logical_not(),
                              -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1), values).transpose(1, 2);
}

// Query t sees keys 0 .. S - T + t.
at::Tensor before(const at::Tensor& q, const at::Tensor& k) {
  const int64_t T = q.size(1);
  const int64_t S = k.size(1);
  return at::ones({T, S}, q.options().dtype(at::kBool)).tril(S - T);
}

}  // namespace

at::Tensor reference::causal_attention(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v) {
  return attention(q, k, v, before(q, k));
}

at::Tensor reference::document_attention(const at::Tensor& q,
                                         const at::Tensor& k,
                                         const at::Tensor& v,
                                         const RotaryTable& rotary,
                                         const at::Tensor& documents) {
  const at::Tensor places = at::arange(q.size(1), documents.options());
  const auto turned = [&](const at::Tensor& x) {
    std::vector<at::Tensor> rows;
    for (int64_t b = 0; b < x.size(0); ++b) {
      const at::Tensor position = places - documents[b];
      rows.push_back(apply_rotary(x.narrow(0, b, 1),
                                  {rotary.cos.index_select(0, position),
                                   rotary.sin.index_select(0, position)}));
    }
    return at::cat(rows, 0);
  };
  const at::Tensor same =
      documents.unsqueeze(2).eq(documents.unsqueeze(1));  // [B, T, T]
  return attention(turned(q), turned(k), v,
                   same.logical_and(before(q, k)).unsqueeze(1));
}

}  // namespace annuli::kernels

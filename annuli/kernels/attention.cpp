#include "annuli/kernels/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/record_function.h>

#include <optional>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/attention.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/documents.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

namespace {

// [T, S], true where query t may see the key.
at::Tensor visible_keys(int64_t T, int64_t S, at::Device device) {
  auto options = at::TensorOptions(at::kBool).device(device);
  return at::ones({T, S}, options).tril(S - T);
}

void check_shapes(const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v) {
  ANNULI_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes(),
               "q is {}, k {}, v {}", words_of(q), words_of(k), words_of(v));
  ANNULI_CHECK(q.size(2) % k.size(2) == 0, "{} heads over {} kv heads",
               q.size(2), k.size(2));
  ANNULI_CHECK(k.size(1) >= q.size(1), "{} keys for {} queries", k.size(1),
               q.size(1));
}

at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v) {
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

at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const RotaryTable& rotary) {
  return library_attention(apply_rotary(q, rotary), apply_rotary(k, rotary), v);
}

// Each document by itself, and put together.
at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const RotaryTable& rotary,
                             const at::Tensor& documents) {
  if (!documents.defined()) return library_attention(q, k, v, rotary);
  const auto ranges = document_ranges(documents, q.size(0), q.size(1));
  std::vector<at::Tensor> sequences;
  for (int64_t b = 0; b < q.size(0); ++b) {
    std::vector<at::Tensor> parts;
    for (const DocumentRange& range : ranges[b]) {
      const auto of = [&](const at::Tensor& x) {
        return x.narrow(0, b, 1).narrow(1, range.begin, range.size());
      };
      parts.push_back(
          library_attention(of(q), of(k), of(v),
                            {rotary.cos.narrow(0, 0, range.size()),
                             rotary.sin.narrow(0, 0, range.size())}));
    }
    sequences.push_back(at::cat(parts, 1));
  }
  return at::cat(sequences, 0);
}

bool own_kernel_pays(const at::Tensor& q, const at::Tensor& k) {
  return is_host(q) && cpu::attention_pays(q, k);
}

}  // namespace

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
  RECORD_USER_SCOPE("attention");
  check_shapes(q, k, v);
  if (!own_kernel_pays(q, k)) return library_attention(q, k, v);
  return cpu::attention(q, k, v, {}, q.scalar_type(), /*documents=*/{});
}

at::Tensor rotary_attention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const RotaryTable& rotary,
                            at::ScalarType out, const at::Tensor& documents) {
  RECORD_USER_SCOPE("attention");
  check_shapes(q, k, v);
  ANNULI_CHECK(q.size(1) == k.size(1) && rotary.cos.size(0) == q.size(1) &&
                   rotary.cos.size(1) * 2 <= q.size(3) &&
                   rotary.cos.scalar_type() == q.scalar_type(),
               "q is {}, k {}, the rotary table {}", words_of(q), words_of(k),
               words_of(rotary.cos));
  if (!own_kernel_pays(q, k)) {
    return library_attention(q, k, v, rotary, documents).to(out);
  }
  return cpu::attention(q, k, v,
                        {rotary.cos.contiguous(), rotary.sin.contiguous()}, out,
                        documents);
}

}  // namespace annuli::kernels

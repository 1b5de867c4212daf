#pragma once

#include <ATen/core/Tensor.h>

// Rotary positions (Su et al., 2104.09864; the half-split layout of the Hugging
// Face Llama family) and causal grouped-query attention.
namespace annuli::kernels {

// cos and sin of position * frequency times `amplitude`, each [T, half], for
// positions first .. first + T - 1. Where 2 * half is less than head_dim, the
// rest of a head is left as it is. Angles are computed in the frequencies'
// type: in fp32 for fp32 (as transformers does) and in fp64 for fp64.
struct RotaryTable {
  at::Tensor cos;
  at::Tensor sin;
};
RotaryTable rotary_table(int64_t first, int64_t T,
                         const at::Tensor& frequencies,  // [half]
                         double amplitude = 1);

// theta^(-2i/dim), [dim / 2]: the unscaled frequencies. `dim`: head_dim, or the
// part of it that is turned.
at::Tensor rotary_frequencies(int64_t dim, double theta, at::ScalarType dtype,
                              at::Device device);

// x: [B, T, H, head_dim] -> rotated, same shape. Differentiable in x.
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table);

// One token, plain memory: x [H, head_dim] -> y, which may be x; cos and sin
// [half] are a row of a table. The same bits as above.
void rotate_row(const float* x, const float* cos, const float* sin, int64_t H,
                int64_t head_dim, int64_t half, float* y);

// q: [B, T, H, hd]; k, v: [B, S, K, hd] with H a multiple of K and S >= T;
// query t sees keys 0 .. S - T + t. Scale 1/sqrt(hd). Returns [B, T, H, hd].
// Head h reads kv head h / (H / K).
//
// On CPUs with AVX-512 an own kernel (head_attention.h), elsewhere, and for few
// queries over many keys, LibTorch's. Differentiable; the same bits for any
// number of threads and whatever else is in the batch.
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v);

// The same with q and k turned by `rotary` first, T = S. `out` is the type of
// the result: that of q or, for fp32, bf16, whose gradient is still fp32.
//
// `documents`, if given: [B, T] int64 on the host, for each token the first of
// its document within the sequence (documents.h). A token sees its own document
// alone, and the table's first row turns each document's first token: what each
// document gives by itself, to the bit. Nothing is computed of what is hidden.
at::Tensor rotary_attention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const RotaryTable& rotary,
                            at::ScalarType out,
                            const at::Tensor& documents = {});

// Whether the backward pass keeps what the two return, in the type of q. The
// own kernel's does not.
bool attention_keeps_result();

namespace reference {
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table);
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v);
// Of the whole square, what other documents hold masked.
at::Tensor document_attention(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const RotaryTable& rotary,
                              const at::Tensor& documents);
}  // namespace reference

}  // namespace annuli::kernels

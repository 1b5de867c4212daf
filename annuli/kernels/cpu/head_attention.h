#pragma once

#include <cstdint>

// Causal attention of single heads, forward and backward, with rotary positions
// applied on the way: what `causal_attention` (attention.h) runs for each
// sequence and head. AVX-512 only (small_product.h); fp32 and fp64.
//
// Queries go in blocks of 64, whose scores over all keys stand in memory at
// once: no sum is ever rescaled. What causality hides is left out by tiles.
// The backward pass forms the scores anew from q, k and the saved logarithm of
// each row's sum. Every head is computed by one thread in one order, so the
// bits depend neither on the number of threads nor on the rest of the batch.
namespace annuli::kernels {

// The rows of one head inside [B, T, H, head_dim].
template <typename T>
struct HeadRows {
  T* data;
  int64_t row;  // entries from one token to the next

  T* operator[](int64_t t) const { return data + t * row; }
  HeadRows from(int64_t t) const { return {(*this)[t], row}; }
};

struct HeadShape {
  int64_t queries;   // T
  int64_t keys;      // S >= T; query t sees keys 0 .. S - T + t
  int64_t head_dim;  // even where there are rotary positions
  int64_t group;     // query heads for each key head
  int64_t sums;      // from one query head's log_sum to the next one's
};

// cos and sin, [T, half] each, which turn the first 2 * half entries of a head;
// null: q and k are taken as they are.
template <typename T>
struct Rotation {
  const T* cos = nullptr;
  const T* sin = nullptr;
  int64_t half = 0;
};

// Softmax(q k^T / sqrt(head_dim)) v of one query head. `out` may be bf16 for T
// float. `log_sum`: [T], of each row's exponentials.
template <typename T, typename Out>
void attend_head(const HeadShape& shape, HeadRows<const T> q,
                 HeadRows<const T> k, HeadRows<const T> v,
                 const Rotation<T>& rotation, HeadRows<Out> out, T* log_sum);

// Gradients of one key head and the query heads that read it: head g of the
// group lies at q.data + g * head_dim, and so in dout and dq; its sums at
// log_sum + g * shape.sums.
template <typename T, typename Out>
struct HeadGradients {
  HeadRows<Out> q, k, v;
};
template <typename T, typename Out>
void attend_head_backward(const HeadShape& shape, HeadRows<const T> q,
                          HeadRows<const T> k, HeadRows<const T> v,
                          const Rotation<T>& rotation, HeadRows<const T> dout,
                          const T* log_sum,
                          const HeadGradients<T, Out>& gradients);

}  // namespace annuli::kernels

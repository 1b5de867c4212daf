#include "annuli/model/kv_cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr int64_t kSmallest = 64;  // tokens

at::Tensor moved(const at::Tensor& old, int64_t capacity, int64_t length) {
  at::Tensor room = at::empty({old.size(0), old.size(1), capacity, old.size(3)},
                              old.options());
  room.narrow(2, 0, length).copy_(old.narrow(2, 0, length));
  return room;
}

// [B, K, capacity, head_dim] as the forward pass sees it, [B, S, K, head_dim].
at::Tensor first_tokens(const at::Tensor& memory, int64_t S) {
  return memory.narrow(2, 0, S).transpose(1, 2);
}

}  // namespace

const KvCache::Layer& KvCache::reserve(int64_t layer, int64_t capacity,
                                       const Shape& shape,
                                       const at::TensorOptions& options) {
  if (static_cast<int64_t>(layers_.size()) <= layer) layers_.resize(layer + 1);
  Layer& kept = layers_[layer];
  if (!kept.keys.defined()) {
    const int64_t first = std::max(capacity, kSmallest);
    kept.keys = at::empty({shape.B, shape.K, first, shape.head_dim}, options);
    kept.values = at::empty(kept.keys.sizes(), options);
  } else if (kept.keys.size(2) < capacity) {
    const int64_t doubled = std::max(capacity, 2 * kept.keys.size(2));
    kept.keys = moved(kept.keys, doubled, length_);
    kept.values = moved(kept.values, doubled, length_);
  }
  return kept;
}

std::pair<at::Tensor, at::Tensor> KvCache::append(int64_t layer,
                                                  const at::Tensor& k,
                                                  const at::Tensor& v) {
  const int64_t T = k.size(1);
  const int64_t S = length_ + T;
  const Layer& kept =
      reserve(layer, S, {k.size(0), k.size(2), k.size(3)}, k.options());
  ANNULI_CHECK(kept.keys.size(0) == k.size(0) &&
                   kept.keys.scalar_type() == k.scalar_type(),
               "a cache is used for one batch in one type");
  kept.keys.narrow(2, length_, T).copy_(k.transpose(1, 2));
  kept.values.narrow(2, length_, T).copy_(v.transpose(1, 2));
  return {first_tokens(kept.keys, S), first_tokens(kept.values, S)};
}

void KvCache::truncate(int64_t length) {
  ANNULI_CHECK(length >= 0 && length <= length_, "{} of {} tokens are to stay",
               length, length_);
  length_ = length;
}

}  // namespace annuli

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

// Keys and values of the tokens that a sequence (or B of one length) has seen,
// by layer. What is appended is written into memory that is there already;
// when it is full it doubles, so n tokens are copied at most twice in all.
//
// State: `length` tokens, which all layers hold between forward passes. Type
// and sizes are those of what is appended first.
namespace annuli {

class KvCache {
 public:
  struct Layer {
    at::Tensor keys;  // [B, K, capacity, head_dim]: a head's keys lie together
    at::Tensor values;
  };

  int64_t length() const { return length_; }

  // Writes k and v [B, T, K, head_dim] of the tokens from `length` on, and
  // returns all of the layer's, [B, length + T, K, head_dim]: views.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& k,
                                           const at::Tensor& v);

  // The layer's memory, with room for at least `capacity` tokens; for kernels
  // that write there themselves. `shape` and `options` count the first time.
  struct Shape {
    int64_t B;
    int64_t K;
    int64_t head_dim;
  };
  const Layer& reserve(int64_t layer, int64_t capacity, const Shape& shape,
                       const at::TensorOptions& options);

  // After the last layer: T more tokens have been seen.
  void advance(int64_t T) { length_ += T; }
  // Forgets all but the first `length` tokens.
  void truncate(int64_t length);

  const Layer& layer(int64_t layer) const { return layers_.at(layer); }

 private:
  std::vector<Layer> layers_;
  int64_t length_ = 0;
};

}  // namespace annuli

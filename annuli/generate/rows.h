#pragma once

#include <cstdint>
#include <vector>

#include "annuli/generate/decode_weights.h"

namespace annuli::decoding {

// Rows of floats, one after the other, in memory that only grows.
class Rows {
 public:
  // What was in them is lost.
  void resize(int64_t count, int64_t width) {
    count_ = count;
    width_ = width;
    if (static_cast<int64_t>(data_.size()) < count * width) {
      data_.resize(count * width);
    }
  }
  float* operator[](int64_t row) { return data_.data() + row * width_; }
  int64_t count() const { return count_; }
  int64_t width() const { return width_; }
  int64_t size() const { return count_ * width_; }

 private:
  std::vector<float> data_;
  int64_t count_ = 0;
  int64_t width_ = 0;
};

// `count` rows of x, `x_stride` apart, through a linear layer.
inline kernels::Product product(const Linear& linear, const float* x,
                                int64_t x_stride, int64_t count, float* y) {
  return {.weight = linear.matrix,
          .bias = linear.bias_data(),
          .x = x,
          .x_stride = x_stride,
          .M = count,
          .y = y,
          .y_stride = linear.matrix.rows};
}

// All rows of `in`; sizes `out`.
inline kernels::Product product(const Linear& linear, Rows& in, Rows& out) {
  out.resize(in.count(), linear.matrix.rows);
  return product(linear, in[0], in.width(), in.count(), out[0]);
}

}  // namespace annuli::decoding

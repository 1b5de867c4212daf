#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "annuli/kernels/parallel.h"

// Sums over the rows of a matrix that loops over blocks of rows form beside
// their other work: each block adds into a sum of its own, and the blocks are
// added in order, so the bits are the same for any number of threads.
namespace annuli::kernels {

class BlockSums {
 public:
  static constexpr int64_t kRows = 64;  // 64 x 1024 floats fit the L2 cache

  // `width` sums over `rows` rows, in the type of `options`.
  BlockSums(int64_t rows, int64_t width, const at::TensorOptions& options)
      : rows_(rows),
        width_(width),
        partial_(at::zeros({std::max<int64_t>(blocks(), 1), width}, options)) {}

  // Calls f(first row, last row + 1, sums of the block) for each block.
  template <typename T, typename F>
  void for_each_block(const F& f) {
    T* sums = partial_.mutable_data_ptr<T>();
    parallel_blocks(rows_, kRows, [&](int64_t begin, int64_t end) {
      f(begin, end, sums + begin / kRows * width_);
    });
    for (int64_t b = 1; b < blocks(); ++b) {
      for (int64_t d = 0; d < width_; ++d) sums[d] += sums[b * width_ + d];
    }
  }

  // [width], once the blocks are done.
  at::Tensor total() const { return partial_.select(0, 0); }

 private:
  int64_t blocks() const { return (rows_ + kRows - 1) / kRows; }

  int64_t rows_;
  int64_t width_;
  at::Tensor partial_;
};

}  // namespace annuli::kernels

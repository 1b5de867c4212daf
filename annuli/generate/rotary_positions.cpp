#include "annuli/generate/rotary_positions.h"

#include <utility>

namespace annuli::decoding {
namespace {

constexpr int64_t kPositions = 64;  // per block of rotary angles

}  // namespace

RotaryPositions::RotaryPositions(at::Tensor frequencies, double amplitude,
                                 int64_t head_dim)
    : frequencies_(std::move(frequencies)),
      amplitude_(amplitude),
      head_dim_(head_dim) {}

void RotaryPositions::rotate(float* x, int64_t heads, int64_t position) {
  while (static_cast<int64_t>(blocks_.size()) * kPositions <= position) {
    blocks_.push_back(
        kernels::rotary_table(static_cast<int64_t>(blocks_.size()) * kPositions,
                              kPositions, frequencies_, amplitude_));
  }
  const kernels::RotaryTable& table = blocks_[position / kPositions];
  const int64_t half = frequencies_.numel();
  const int64_t offset = position % kPositions * half;
  kernels::rotate_row(x, table.cos.const_data_ptr<float>() + offset,
                      table.sin.const_data_ptr<float>() + offset, heads,
                      head_dim_, half, x);
}

}  // namespace annuli::decoding

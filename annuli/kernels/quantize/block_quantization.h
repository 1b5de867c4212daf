#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

// 8-bit block-wise quantisation (Dettmers et al., 8-bit Optimizers via
// Block-wise Quantization, 2110.02861), for the moments of an optimizer.
//
// A contiguous tensor is cut into blocks of 256 consecutive entries, the last
// one shorter. A block is stored as a scale, its entry of largest magnitude,
// and one code an entry: the index of the nearest of 256 values in [-1, 1], or
// [0, 1] for unsigned codes. The values are those of dynamic quantisation:
// seven decades, each cut into twice as many parts as the one below, and 0 and
// 1. An entry is off by up to 0.7 % of its block's scale (unsigned: 0.35 %),
// and by about as much of itself three decades down.
//
// Two things differ from the paper:
// - The scale keeps the sign of its entry, so that this entry is always the
//   value 1 and comes back exactly (-1 is not among the values). Coding what
//   codes were widened to gives the same codes.
// - Unsigned codes never round a positive number to 0 but up to the smallest
//   value, 3.25e-7: a second moment of 0 under a first moment that is not 0
//   would be a step divided by eps (Li et al., 2309.01507, section 3.2).
// A block whose scale would be below 2^-126 is zero.
namespace annuli::kernels {

inline constexpr int64_t kQuantizedBlock = 256;

enum class Codes { kSigned, kUnsigned };  // first moment, second moment

struct Quantized {
  at::Tensor codes;   // uint8, of the tensor's shape
  at::Tensor scales;  // fp32 [blocks]
};

int64_t quantized_blocks(int64_t entries);

// values: contiguous fp32 on CPU, finite, for unsigned codes not negative. The
// result is in owned memory.
Quantized quantize(const at::Tensor& values, Codes kind);

// fp32, in owned memory.
at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scales,
                      Codes kind);

// The 256 values, ascending.
const std::array<float, 256>& code_values(Codes kind);

namespace reference {
// The nearest value found by looking at all of them; of two, the lower one.
Quantized quantize(const at::Tensor& values, Codes kind);
}  // namespace reference

}  // namespace annuli::kernels

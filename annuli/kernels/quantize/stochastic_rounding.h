#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "annuli/core/rng.h"

// Stochastic rounding of fp32 to bf16: a number between two neighbours becomes
// the upper one with the probability of its distance from the lower one, so
// that the mean of the rounding error is zero. Updates far below the spacing of
// bf16 (2^-8 of a weight) are then kept on average; rounding to nearest would
// lose each of them.
//
// Which way entry e falls is a pure function of (rng, operand, e): the same for
// any number of threads. 16 random bits are added below the cut, so numbers
// that bf16 can hold stay as they are, infinities too.
namespace annuli::kernels {

// One random stream serves all tensors of an update.
enum class Operand : uint64_t { kWeight, kFirstMoment, kSecondMoment };

// Entries whose bits are made at a time.
inline constexpr int64_t kNoiseEntries = 2048;
struct Noise {
  alignas(64) std::array<uint16_t, kNoiseEntries> bits;
};

// The bits of entries [first, first + kNoiseEntries); `first` is a multiple of
// kNoiseEntries. Entry e has half e % 2 (low half first) of word w of block b
// of the rng, with p = e / 2 % 1024: w = p / 256, b = p % 256 + 256 (e / 2048)
// + 2^48 operand.
void random_bits(const CounterRng& rng, Operand operand, int64_t first,
                 Noise& noise);

// target = values, rounded; of one shape and device, fp32 and bf16.
void round_stochastically(const at::Tensor& values, const CounterRng& rng,
                          Operand operand, at::Tensor& target);

namespace reference {
// The same bits, one entry at a time; any devices and strides.
void round_stochastically(const at::Tensor& values, const CounterRng& rng,
                          Operand operand, at::Tensor& target);
}  // namespace reference

}  // namespace annuli::kernels

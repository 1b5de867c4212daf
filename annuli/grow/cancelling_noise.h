#pragma once

#include <cstdint>
#include <type_traits>

#include "annuli/core/rng.h"
#include "annuli/grow/parent_block.h"

// Noise that cancels between two copies of a block, exactly.
//
// With p = round(scale * W) in the stored type, the copies hold p + e and
// p - e. Rounding both would leave a sum that is off by the storage epsilon. So
// with V = 2p only the larger one is rounded, the other is the difference:
//
//   large = round(p + |e| sign p),  small = V - large.
//
// By Sterbenz's lemma V - large is representable, and so the pair sums to V
// without error, if V/2 <= large <= 2V (for p > 0), that is if
// 0 <= |e| <= 3 |p|; both ends survive rounding, p and 4p being representable.
// Noise beyond 3 |p| is clipped there, which costs power, and sigma is raised
// until the block's realised power is the asked one to 0.01 dB.
//
// Codes of 8 bits (kernels/quantize/weight_codes.h): with p = c s, s the scale
// of the parent's block times the factor, e is rounded to d s and kept where c
// + d and c - d are codes, -127 .. 127. Then both copies are codes of the scale
// s, and their sum is 2p in whole numbers. Power is counted as it was rounded,
// so it is the asked one until e is below half a step nearly everywhere, some
// 40 dB.
//
// Corner cases: where p is 0 there is no noise; a block of zeros stays zero. In
// bf16 the rounding of `large` adds a noise floor of its own near 50 dB.
namespace annuli::grow {

template <typename Stored>
using Arithmetic =
    std::conditional_t<std::is_same_v<Stored, double>, double, float>;

// Power of the noise over a block.
struct NoisePower {
  double total = 0;      // of the clipped noise
  double unclipped = 0;  // the part of it that still grows with sigma
};

// One block of the parent and the noise between its two copies.
//
// Sigma is found when the block is made, by reading the parent a few times;
// rows can then be written in any order and in pieces of any size, always the
// same bits. Neither the parent nor the normal numbers are held: numbers are
// drawn again where they are needed.
template <typename Stored>
class NoisyBlock {
 public:
  // `first_number`: where in the stream this block's normal numbers begin, a
  // multiple of 4; it uses rows * cols of them. `coded`: the copies are codes.
  NoisyBlock(ParentBlock parent, double scale, double snr_db, CounterRng rng,
             uint64_t first_number, bool coded);

  // The two copies of rows [begin, end); child_stride in elements.
  void write(int64_t begin, int64_t end, Stored* first, Stored* second,
             int64_t child_stride) const;

 private:
  using T = Arithmetic<Stored>;

  // A row of the parent; then, where they are wanted, its normal numbers, and
  // of codes their steps.
  struct Row {
    int64_t number;
    const T* w;
    const float* z;
    const T* steps;
  };

  // f(Row), in parallel.
  template <typename Function>
  void for_rows(int64_t begin, int64_t end, bool with_numbers,
                const Function& f) const;
  double signal_power() const;
  NoisePower noise_power(T sigma) const;
  double solve_sigma(double target) const;

  ParentBlock parent_;
  double scale_;
  CounterRng rng_;
  uint64_t first_number_;
  bool coded_;
  T sigma_ = 0;
};

}  // namespace annuli::grow

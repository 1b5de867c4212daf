#pragma once

#include <cstdint>
#include <type_traits>

#include "annuli/core/rng.h"

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
// Corner cases: where p is 0 there is no noise; a block of zeros stays zero. In
// bf16 the rounding of `large` adds a noise floor of its own near 50 dB.
namespace annuli::grow {

template <typename Stored>
using Arithmetic =
    std::conditional_t<std::is_same_v<Stored, double>, double, float>;

// One block of the parent and where its two copies go; strides in elements.
template <typename Stored>
struct NoisyPair {
  const Arithmetic<Stored>* parent;
  Stored* first;
  Stored* second;
  int64_t rows;
  int64_t cols;
  int64_t parent_stride;
  int64_t child_stride;
};

// `first_number`: where in the stream this block's normal numbers begin, a
// multiple of 4; it uses rows * cols of them.
template <typename Stored>
void fill_noisy_pair(const NoisyPair<Stored>& pair, double scale, double snr_db,
                     const CounterRng& rng, uint64_t first_number);

}  // namespace annuli::grow

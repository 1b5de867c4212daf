#include "annuli/data/shuffle.h"

#include <algorithm>
#include <bit>

#include "annuli/core/error.h"

namespace annuli::data {
namespace {

constexpr uint64_t kRounds = 8;

// A permutation of numbers of 2 * `bits` bits.
uint64_t permuted(const CounterRng& key, uint64_t x, int bits) {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  uint64_t left = x >> bits;
  uint64_t right = x & mask;
  for (uint64_t round = 1; round <= kRounds; ++round) {
    const uint64_t mixed = left ^ (key.bits(round << 40 | right) & mask);
    left = right;
    right = mixed;
  }
  return left << bits | right;
}

}  // namespace

uint64_t shuffled(const CounterRng& key, uint64_t i, uint64_t n) {
  ANNULI_CHECK(i < n && n <= uint64_t{1} << 62, "number {} of {}", i, n);
  const auto width = static_cast<int>(std::bit_width(n - 1));
  const int bits = std::max(1, (width + 1) / 2);
  uint64_t x = i;
  do {
    x = permuted(key, x, bits);
  } while (x >= n);
  return x;
}

}  // namespace annuli::data

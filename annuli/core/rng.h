#pragma once

#include <array>
#include <cstdint>
#include <string_view>

// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011).
//
// A CounterRng is a pure function of (seed, stream, counter). It has no state
// that moves: number `i` is the same whoever asks, in whatever order, on
// however many threads. Every use of randomness names its own stream, so that
// adding one never shifts another.
namespace annuli {

class CounterRng {
 public:
  CounterRng(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  // A stream named by text, for example CounterRng(seed, "data/train").
  CounterRng(uint64_t seed, std::string_view stream);

  // The four 32-bit words of block `counter`.
  std::array<uint32_t, 4> block(uint64_t counter) const;

  // 64 uniform bits; number `i` uses half of block i / 2.
  uint64_t bits(uint64_t i) const;

  // Uniform in [0, 1), 53 bits.
  double uniform(uint64_t i) const;

  // Uniform integer in [0, n), n > 0; the bias is below n / 2^64.
  uint64_t below(uint64_t i, uint64_t n) const;

  // Standard normal (Box-Muller); number `i` uses the whole of block i.
  double normal(uint64_t i) const;

  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }

 private:
  uint64_t seed_;
  uint64_t stream_;
};

// FNV-1a, 64 bits: names a stream, never used for content.
uint64_t stream_id(std::string_view name);

}  // namespace annuli

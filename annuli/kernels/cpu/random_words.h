#pragma once

#include <array>
#include <cstdint>

#include "annuli/core/rng.h"

// The words of many blocks of a CounterRng at once, in vector code.
namespace annuli::kernels {

inline constexpr int kRandomBlocks = 256;

struct RandomWords {
  alignas(64) std::array<std::array<uint32_t, kRandomBlocks>, 4> word;
};

// words.word[w][b] = rng.block(first_block + b)[w]
void random_words(const CounterRng& rng, uint64_t first_block,
                  RandomWords& words);

}  // namespace annuli::kernels

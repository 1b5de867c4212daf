#pragma once

#include <cstdint>

#include "annuli/core/rng.h"

namespace annuli::data {

// Where i, 0 <= i < n, stands in an order of 0 .. n - 1 that `key` draws: a
// permutation, of which no table is kept. A Feistel network of eight rounds
// over the next power of four, walked until it falls below n again (Black and
// Rogaway, "Ciphers with arbitrary finite domains", 2002): less than four walks
// on average. It uses the key's numbers from 2^40 on.
uint64_t shuffled(const CounterRng& key, uint64_t i, uint64_t n);

}  // namespace annuli::data

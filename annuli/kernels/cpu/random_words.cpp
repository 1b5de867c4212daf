#include "annuli/kernels/cpu/random_words.h"

#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

ANNULI_VECTOR_CLONES void random_words(const CounterRng& rng,
                                       uint64_t first_block,
                                       RandomWords& words) {
  const uint64_t stream = rng.stream();
  uint32_t* __restrict a = words.word[0].data();
  uint32_t* __restrict b = words.word[1].data();
  uint32_t* __restrict c = words.word[2].data();
  uint32_t* __restrict d = words.word[3].data();
  for (int i = 0; i < kRandomBlocks; ++i) {
    const uint64_t counter = first_block + static_cast<uint64_t>(i);
    a[i] = static_cast<uint32_t>(counter);
    b[i] = static_cast<uint32_t>(counter >> 32);
    c[i] = static_cast<uint32_t>(stream);
    d[i] = static_cast<uint32_t>(stream >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(rng.seed());
  uint32_t k1 = static_cast<uint32_t>(rng.seed() >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kRandomBlocks; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53} * a[i];
      const uint64_t p1 = uint64_t{0xCD9E8D57} * c[i];
      a[i] = static_cast<uint32_t>(p1 >> 32) ^ b[i] ^ k0;
      c[i] = static_cast<uint32_t>(p0 >> 32) ^ d[i] ^ k1;
      b[i] = static_cast<uint32_t>(p1);
      d[i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
}

}  // namespace annuli::kernels

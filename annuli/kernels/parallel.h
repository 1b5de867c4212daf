#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

// How our own loops use the machine: blocks whose borders do not depend on the
// number of threads, and hot functions compiled for several instruction sets.
namespace annuli::kernels {

// Calls f(begin, end) in parallel for [0, block), [block, 2 block) ... of
// [0, n). The cut is the same for any number of threads, so a result that is
// formed per block is too.
template <typename F>
void parallel_blocks(int64_t n, int64_t block, const F& f) {
  const int64_t blocks = (n + block - 1) / block;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      f(b * block, std::min(n, (b + 1) * block));
    }
  });
}

}  // namespace annuli::kernels

// On a function: compiled for each of these targets, chosen at load time. The
// resolvers run before a sanitizer is ready, so not under one.
#if defined(__x86_64__) && !defined(ANNULI_SANITIZED)
#define ANNULI_CLONES_FOR(...) __attribute__((target_clones(__VA_ARGS__)))
#else
#define ANNULI_CLONES_FOR(...)
#endif

// AVX-512, AVX2 and plain x86-64. The three agree to rounding only (fused
// multiply-add).
#define ANNULI_VECTOR_CLONES \
  ANNULI_CLONES_FOR("arch=x86-64-v4", "arch=x86-64-v3", "default")

// On the template behind such clones, so that each gets its own body.
#define ANNULI_INLINE __attribute__((always_inline)) inline

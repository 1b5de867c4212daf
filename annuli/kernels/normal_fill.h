#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "annuli/core/rng.h"

// Normal numbers in bulk: initial weights, routers, the noise of widening.
//
// Number i depends on (rng, i) alone: not on threads, not on where a block
// begins, and not on the processor (own log, sin and cos in plain fp32 without
// contraction, so a replayed growth is the same byte for byte anywhere).
// Box-Muller on 32-bit uniforms: |z| < 6.7, error of each number below 1e-6.
namespace annuli::kernels {

// out[i] = normal number first + i. `first` must be a multiple of 4.
void normal_numbers(const CounterRng& rng, uint64_t first,
                    std::span<float> out);

// Fills a contiguous CPU tensor (fp32 or fp64) with std * number i.
void fill_normal(at::Tensor& tensor, const CounterRng& rng, double std);

}  // namespace annuli::kernels

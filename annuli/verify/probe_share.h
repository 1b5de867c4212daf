#pragma once

#include <cstddef>
#include <cstdint>

#include "annuli/grow/recipe.h"

// How much of the probe a proof has to look at.
//
// Weights are judged by the audits of tensors and config, which look at every
// entry and no probe. What is left for a comparison of two computations is a
// fault of a part of the computation, and it shows at every token that the part
// takes part in:
//
//   part                                share of the tokens    tokens needed
//   a norm, a projection, the head      all                    1
//   a position of RoPE, an attention    one a window           a whole window
//   one of E experts, k chosen          rho k / E              14 E / (rho k)
//
// with rho the expert's load over the mean load. At p of the tokens, N of them
// miss a fault with probability (1 - p)^N < exp(-p N), and 14 > ln(1e6). rho is
// taken as 1/4.
namespace annuli::verify {

// Windows of `length` tokens, of `all` in the probe, that a comparison in fp32
// needs: at least one.
size_t windows_needed(const grow::Recipe& recipe, int64_t length, size_t all);

// Tokens at which arithmetic is compared that costs more, of the first window:
// fp64, and every expert over the whole block. What only that can tell, digits
// below what fp32 rounds, is in every token; one of 8 experts, 2 chosen, is
// missed with probability (3/4)^64 = 1e-8.
inline constexpr int64_t kCostlyTokens = 64;

// A mean of N paired differences is off by its standard error or so; of tokens
// that depend on each other by a few times that. Where the rise of a loss is
// nearer to its budget than this many, more windows are asked.
inline constexpr double kErrorsThatDecide = 6;

}  // namespace annuli::verify

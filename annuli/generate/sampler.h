#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

// Choosing the next token from one row of logits.
//
// State: none. The choice is a pure function of (logits, options, position):
// the same on any machine that computes the same logits, whatever was drawn
// before. Probabilities are computed in fp64 on the CPU.
//
// Corner cases: temperature 0 is greedy and ignores the rest; equal logits
// rank by token id, lower first; top_k above V keeps all; top_p always keeps
// the most probable token; a logit of -inf is never drawn. Logits with NaN or
// +inf, or none above -inf, are a UserError: the model they come from is
// broken. Logits of ids that are never drawn are not looked at.
namespace annuli {

struct SamplerOptions {
  double temperature = 0;  // 0 is greedy
  int64_t top_k = 0;       // keep the k greatest; 0 keeps all
  double top_p = 1;        // then the fewest whose probabilities sum to top_p
  uint64_t seed = 0;
  // Ids that are taken out before anything else looks at the logits. Borrowed;
  // those outside of the row are passed over.
  std::span<const int32_t> never = {};
};

// Throws UserError naming the first option that cannot be.
void validate(const SamplerOptions& options);

// Index of the greatest logit, the lowest of equals.
int32_t greedy_token(const at::Tensor& logits);  // [V]

// Draws token number `position` of the sequence, counted from 0.
int32_t sample_token(const at::Tensor& logits,  // [V]
                     const SamplerOptions& options, uint64_t position);

}  // namespace annuli

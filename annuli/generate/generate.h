#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "annuli/generate/sampler.h"
#include "annuli/model/transformer.h"

// Text, one token after the other, through a cache of keys and values.
//
// State: none outlives a call. The same model, prompt and options give the
// same tokens.
//
// Corner cases: an empty prompt and ids outside the vocabulary are a
// UserError; max_new_tokens 0 gives nothing. In a mixture whose router ties
// exactly, the tie falls by the token's place in the block that is computed,
// so cached and full passes may choose different experts there.
namespace annuli {

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  double temperature = 0;  // 0 is greedy
  int64_t top_k = 0;       // 0 keeps all
  double top_p = 1;
  uint64_t seed = 0;
  std::optional<int32_t> stop_id;         // ends the text; not part of it
  std::function<void(int32_t)> on_token;  // each new token, at once
};

// The new tokens, without the prompt.
std::vector<int32_t> generate(const Transformer& model,
                              std::span<const int32_t> prompt,
                              const GenerateOptions& options);

}  // namespace annuli

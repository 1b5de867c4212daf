#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "annuli/generate/sampler.h"
#include "annuli/model/transformer.h"

// Text, one token after the other, through caches of keys and values; for one
// prompt or for several at once, which then share the reading of the weights.
//
// State: none outlives a call. The same model, prompt and options give the same
// tokens, alone or among other prompts: of any length, in any order. Equal
// prompts give equal text, since all are sampled with the same seed.
//
// Corner cases: no prompts give nothing; an empty prompt and ids outside the
// vocabulary are a UserError; max_new_tokens 0 gives nothing. In a mixture
// whose router ties exactly, the tie falls by the token's place in the block
// that is computed, so cached and full passes may choose different experts
// there.
namespace annuli {

using TokenIds = std::vector<int32_t>;

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  double temperature = 0;  // 0 is greedy
  int64_t top_k = 0;       // 0 keeps all
  double top_p = 1;
  uint64_t seed = 0;
  int64_t batch = 8;               // how many prompts are continued at once
  std::vector<int32_t> stop_ids;   // each ends a text; not part of it
  std::vector<int32_t> never_ids;  // are not drawn; the tokenizer lacks them
  // Each new token of prompt i, at once.
  std::function<void(size_t i, int32_t id)> on_token = {};
};

// How long it took. The prompt's last token is the first step, which gives the
// first new token; both count as reading the prompt.
struct GenerateStats {
  int64_t prompt_tokens = 0;
  double prompt_seconds = 0;
  int64_t new_tokens = 0;  // by the steps after the first
  double new_seconds = 0;
};

// The new tokens of each prompt, without the prompt.
std::vector<TokenIds> generate(const Transformer& model,
                               std::span<const TokenIds> prompts,
                               const GenerateOptions& options,
                               GenerateStats* stats = nullptr);

// Of one.
TokenIds generate(const Transformer& model, const TokenIds& prompt,
                  const GenerateOptions& options);

}  // namespace annuli

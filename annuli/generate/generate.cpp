#include "annuli/generate/generate.h"

#include <algorithm>
#include <chrono>

#include "annuli/core/error.h"
#include "annuli/generate/decoder.h"

namespace annuli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check_prompt(const TokenIds& prompt, int64_t vocab_size) {
  if (prompt.empty()) {
    user_error(
        "generating: the prompt has no tokens, expected at least one; give "
        "some text to continue");
  }
  for (const int32_t id : prompt) {
    if (id < 0 || id >= vocab_size) {
      user_error(
          "generating: the prompt holds token {}, expected 0 to {}; use the "
          "tokenizer that the model was trained with",
          id, vocab_size - 1);
    }
  }
}

SamplerOptions sampler_options(const GenerateOptions& options) {
  return {options.temperature, options.top_k, options.top_p, options.seed,
          options.never_ids};
}

// A prompt that is being continued.
struct Sequence {
  size_t prompt;  // its number
  KvCache cache;
  int32_t last;      // the token that is read next
  TokenIds* tokens;  // the new ones
};

class Generation {
 public:
  Generation(const Transformer& model, const GenerateOptions& options,
             GenerateStats& stats)
      : decoder_(model), options_(options), stats_(stats) {}

  // Continues the prompts from number `first` on.
  void run(std::span<const TokenIds> prompts, size_t first,
           std::span<TokenIds> tokens) {
    const auto begin = Clock::now();
    active_.clear();
    for (size_t i = 0; i < prompts.size(); ++i) {
      const TokenIds& prompt = prompts[i];
      active_.push_back({first + i, {}, prompt.back(), &tokens[i]});
      decoder_.read(active_.back().cache,
                    std::span(prompt).first(prompt.size() - 1));
      stats_.prompt_tokens += static_cast<int64_t>(prompt.size());
    }
    step();
    stats_.prompt_seconds += seconds_since(begin);
    const auto after = Clock::now();
    while (!active_.empty()) {
      stats_.new_tokens += static_cast<int64_t>(active_.size());
      step();
    }
    stats_.new_seconds += seconds_since(after);
  }

 private:
  // One more token for each sequence; those that end leave.
  void step() {
    std::vector<KvCache*> caches;
    std::vector<int32_t> ids;
    for (Sequence& sequence : active_) {
      caches.push_back(&sequence.cache);
      ids.push_back(sequence.last);
    }
    const at::Tensor logits = decoder_.step(caches, ids);
    int64_t row = 0;
    std::erase_if(active_, [&](Sequence& sequence) {
      return !take(sequence, logits[row++]);
    });
  }

  // False if the text ends.
  bool take(Sequence& sequence, const at::Tensor& logits) {
    TokenIds& tokens = *sequence.tokens;
    sequence.last =
        sample_token(logits, sampler_options(options_), tokens.size());
    if (std::ranges::find(options_.stop_ids, sequence.last) !=
        options_.stop_ids.end()) {
      return false;
    }
    tokens.push_back(sequence.last);
    if (options_.on_token) options_.on_token(sequence.prompt, sequence.last);
    return static_cast<int64_t>(tokens.size()) < options_.max_new_tokens;
  }

  Decoder decoder_;
  const GenerateOptions& options_;
  GenerateStats& stats_;
  std::vector<Sequence> active_;
};

}  // namespace

std::vector<TokenIds> generate(const Transformer& model,
                               std::span<const TokenIds> prompts,
                               const GenerateOptions& options,
                               GenerateStats* stats) {
  validate(sampler_options(options));
  ANNULI_CHECK(options.batch >= 1, "{} texts at a time", options.batch);
  for (const TokenIds& prompt : prompts) {
    check_prompt(prompt, model.config().vocab_size);
  }
  std::vector<TokenIds> tokens(prompts.size());
  if (options.max_new_tokens == 0) return tokens;
  GenerateStats unasked;
  Generation generation(model, options, stats == nullptr ? unasked : *stats);
  const auto batch = static_cast<size_t>(options.batch);
  for (size_t first = 0; first < prompts.size(); first += batch) {
    const size_t count = std::min(batch, prompts.size() - first);
    generation.run(prompts.subspan(first, count), first,
                   std::span(tokens).subspan(first, count));
  }
  return tokens;
}

TokenIds generate(const Transformer& model, const TokenIds& prompt,
                  const GenerateOptions& options) {
  return generate(model, {&prompt, 1}, options)[0];
}

}  // namespace annuli

#include "annuli/generate/generate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "annuli/core/error.h"

namespace annuli {
namespace {

void check_prompt(std::span<const int32_t> prompt, int64_t vocab_size) {
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

at::Tensor to_tokens(std::span<const int32_t> ids, at::Device device) {
  at::Tensor tokens =
      at::empty({1, static_cast<int64_t>(ids.size())}, at::kLong);
  int64_t* data = tokens.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < ids.size(); ++i) data[i] = ids[i];
  return tokens.to(device);
}

// Decodes one sequence; what it has seen is in the cache.
class Decoder {
 public:
  explicit Decoder(const Transformer& model) : model_(model) {
    options_.cache = &cache_;
  }

  // Reads tokens whose logits nobody asks for.
  void prefill(std::span<const int32_t> ids) {
    if (ids.empty()) return;
    model_.hidden_states(to_tokens(ids, model_.device()), options_);
  }

  // Reads one token; the logits of its successor, [V].
  at::Tensor step(int32_t id) {
    return model_.logits(to_tokens({&id, 1}, model_.device()), options_)
        .view({-1});
  }

 private:
  const Transformer& model_;
  KvCache cache_;
  ForwardOptions options_;
};

}  // namespace

std::vector<int32_t> generate(const Transformer& model,
                              std::span<const int32_t> prompt,
                              const GenerateOptions& options) {
  const SamplerOptions sampler{options.temperature, options.top_k,
                               options.top_p, options.seed};
  validate(sampler);
  check_prompt(prompt, model.config().vocab_size);
  const at::NoGradGuard no_grad;
  Decoder decoder(model);
  std::vector<int32_t> tokens;
  int32_t last = prompt.back();
  while (static_cast<int64_t>(tokens.size()) < options.max_new_tokens) {
    if (tokens.empty()) decoder.prefill(prompt.first(prompt.size() - 1));
    last = sample_token(decoder.step(last), sampler, tokens.size());
    if (last == options.stop_id) break;
    tokens.push_back(last);
    if (options.on_token) options.on_token(last);
  }
  return tokens;
}

}  // namespace annuli

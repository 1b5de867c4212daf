#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <string>

#include "annuli/config/model_config.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"

// For tests of a model's config: a shape whose fields are off their defaults,
// and what a refusal says.
namespace annuli {

inline ModelConfig make_config(bool mixture, bool gated, bool qk_norm) {
  ModelConfig config;
  config.vocab_size = 101;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 6;
  config.num_key_value_heads = 2;
  config.head_dim = 10;  // not hidden_size / heads
  config.num_experts = mixture ? 5 : 0;
  config.num_experts_per_tok = mixture ? 3 : 0;
  config.hidden_act = gated ? Activation::kSilu : Activation::kGelu;
  config.gated = gated;
  config.qk_norm = qk_norm ? QkNorm::kHead : QkNorm::kNone;
  config.tie_word_embeddings = qk_norm;
  config.rms_norm_eps = 1e-6;
  config.rope_theta = 500000;
  config.max_position_embeddings = 77;
  config.initializer_range = 0.05;
  return config;
}

inline std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no UserError";
}

inline std::string reading(const Json& json) {
  const std::string message = message_of([&] { model_config_from_json(json); });
  EXPECT_THAT(message, testing::Not(testing::HasSubstr("\n")));
  return message;
}

}  // namespace annuli

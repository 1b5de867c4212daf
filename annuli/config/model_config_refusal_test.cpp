// Shapes that cannot be, and what a config.json says that is not computed here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/config/model_config.h"
#include "annuli/config/model_config_for_tests.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;

TEST(ModelConfig, NamesTheFieldThatCannotBe) {
  const ModelConfig good = make_config(true, true, false);
  EXPECT_NO_THROW(validate(good));
  const auto complaint = [&](auto change) {
    ModelConfig config = good;
    change(config);
    return message_of([&] { validate(config); });
  };
  EXPECT_THAT(complaint([](auto& c) { c.vocab_size = 0; }),
              HasSubstr("vocab_size is 0"));
  EXPECT_THAT(complaint([](auto& c) { c.num_hidden_layers = -3; }),
              HasSubstr("num_hidden_layers is -3"));
  EXPECT_THAT(complaint([](auto& c) { c.num_key_value_heads = 4; }),
              HasSubstr("not a multiple of num_key_value_heads 4"));
  EXPECT_THAT(complaint([](auto& c) { c.head_dim = 7; }),
              HasSubstr("head_dim 7 is odd"));
  EXPECT_THAT(complaint([](auto& c) { c.num_experts_per_tok = 6; }),
              HasSubstr("num_experts_per_tok 6 of num_experts 5"));
  EXPECT_THAT(complaint([](auto& c) { c.num_experts = -1; }),
              HasSubstr("num_experts -1"));
  EXPECT_THAT(complaint([](auto& c) { c.rms_norm_eps = 0; }),
              HasSubstr("rms_norm_eps is 0"));
  EXPECT_THAT(complaint([](auto& c) { c.rope_theta = NAN; }),
              HasSubstr("rope_theta is nan"));
  EXPECT_THAT(complaint([](auto& c) { c.initializer_range = INFINITY; }),
              HasSubstr("initializer_range is inf"));
}

TEST(ModelConfig, RefusesSizesThatAreImpossibleTogether) {
  ModelConfig config = make_config(true, true, false);
  config.num_hidden_layers = 4096;
  config.num_experts = 4096;
  EXPECT_THAT(message_of([&] { validate(config); }),
              HasSubstr("are 16777216 experts, expected at most 131072"));
  config.num_experts = 16;
  EXPECT_NO_THROW(validate(config));
  config.hidden_size = config.intermediate_size = int64_t{1} << 30;
  EXPECT_THAT(message_of([&] { validate(config); }),
              HasSubstr("multiply to about 7.6e+22 parameters"));
}

struct BadJson {
  const char* key;
  Json value;
  const char* message;
};

TEST(ModelConfig, RefusesWhatItWouldReadWrongly) {
  const BadJson cases[] = {
      {"hidden_size", 24.5, "'hidden_size' is '24.5', expected an integer"},
      {"hidden_size", true, "expected an integer"},
      {"hidden_size", uint64_t{1} << 63, "expected an integer"},
      {"hidden_size", nullptr,
       "'hidden_size' is 'null', expected an integer; left out it is its "
       "class's default"},
      {"rms_norm_eps", "1e-5", "expected a number"},
      {"tie_word_embeddings", 1, "expected true or false"},
      {"model_type", "gpt2", "found model_type 'gpt2'"},
      {"model_type", "a\nb", "found model_type 'a\\x0ab'"},
      {"hidden_act", "gelu_new", "found hidden_act 'gelu_new', expected"},
      {"is_causal", false, "'is_causal' is 'false'"},
      {"per_layer_config", {{"0", {{"head_dim", 8}}}}, "'per_layer_config'"},
      {"attention_dropout", nullptr, "no UserError"},
      {"rms_norm_eps", {{"__float__", "NaN"}}, "'rms_norm_eps' is 'NaN'"},
      {"rope_theta", nullptr, "no UserError"},  // rope_parameters has it
      {"sliding_window", 16, "sliding_window is 16"},
      {"layer_types",
       {"full_attention", "sliding_attention"},
       "'layer_types' has entries other than"},
      {"no_rope_layers", {1, 0, 1}, "'no_rope_layers'"},
      {"mlp_only_layers", {1}, "'mlp_only_layers' is '[1]'"},
      {"decoder_sparse_step", 2, "'decoder_sparse_step' is '2'"},
      {"partial_rotary_factor", 0.5, "partial_rotary_factor"},
      {"clip_qkv", 8.0, "'clip_qkv' is '8.0'"},
      {"final_logit_softcapping", 30.0, "'final_logit_softcapping'"},
      {"quantization_config", {{"bits", 4}}, "'quantization_config'"},
      {"rope_scaling", {{"rope_type", "llama3"}}, "no 'factor'"},
      {"rope_scaling", {{"type", "dynamic"}}, "found rope_type 'dynamic'"},
      {"rope_scaling", 2, "'rope_scaling' is '2', expected an object"},
      {"rope_scaling",
       {{"rope_type", "linear"}, {"factor", 0}},
       "factor is 0, expected a positive"},
      {"rope_parameters",
       {{"rope_type", "longrope"}, {"rope_theta", 1e4}},
       "found rope_type 'longrope'"},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", 0.5}},
       "factor is 0.5, expected at least 1"},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", 2}, {"beta_slow", 40}},
       "beta_fast is 32, expected more than beta_slow 40"},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", 2}, {"attention_factor", -1}},
       "attention_factor is -1, expected a positive"},
      {"rope_parameters",
       {{"full_attention", {{"rope_theta", 1e4}}}},
       "differ by layer"},
      {"num_local_experts", 0, "num_experts 0"},
  };
  for (const auto& bad : cases) {
    Json json = to_json(make_config(true, true, false));
    EXPECT_NO_THROW(model_config_from_json(json));
    json[bad.key] = bad.value;
    EXPECT_THAT(reading(json), HasSubstr(bad.message)) << bad.key;
  }
  // A class of its own names for what a mixture of Llamas is.
  Json json = to_json(make_config(true, true, false));
  json["model_type"] = "annuli_moe";
  json["gated"] = true;
  json["num_experts"] = 5;
  EXPECT_THAT(reading(json),
              HasSubstr("'annuli_moe' with fields of 'mixtral'"));
  EXPECT_THAT(reading(Json::array()), HasSubstr("found array"));
  EXPECT_THAT(reading({{"model_type", "annuli"}}),
              HasSubstr("no 'vocab_size', expected an integer"));
}

}  // namespace
}  // namespace annuli

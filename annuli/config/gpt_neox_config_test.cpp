#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/config/model_config.h"
#include "annuli/config/model_config_for_tests.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;

// Pythia-70m as EleutherAI states it, but smaller.
Json pythia() {
  return Json::parse(R"({
    "architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0,
    "eos_token_id": 0, "hidden_act": "gelu", "hidden_size": 64,
    "initializer_range": 0.02, "intermediate_size": 256,
    "layer_norm_eps": 1e-06, "max_position_embeddings": 128,
    "model_type": "gpt_neox", "num_attention_heads": 4,
    "num_hidden_layers": 2, "rotary_emb_base": 5000, "rotary_pct": 0.5,
    "tie_word_embeddings": false, "torch_dtype": "float16",
    "transformers_version": "4.24.0", "use_cache": true,
    "use_parallel_residual": true, "vocab_size": 101})");
}

TEST(GptNeox, IsReadInBothFormsAndWrittenInBoth) {
  const ModelConfig config = model_config_from_json(pythia());
  EXPECT_EQ(config.norm_type, NormType::kLayer);
  EXPECT_TRUE(config.parallel_residual && config.fused_qkv && !config.gated);
  EXPECT_TRUE(config.qkv_bias && config.o_bias && config.mlp_bias);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.num_key_value_heads, 4);
  EXPECT_EQ(config.rotary_dim(), 8);
  EXPECT_EQ(config.rope_theta, 5000);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  const Json written = to_json(config);
  EXPECT_EQ(written["rotary_emb_base"], 5000);
  EXPECT_EQ(written["rotary_pct"], 0.5);
  EXPECT_EQ(written["rope_parameters"]["partial_rotary_factor"], 0.5);
  EXPECT_EQ(written["rope_parameters"]["rope_theta"], 5000);
  EXPECT_FALSE(written.contains("rms_norm_eps"));
  EXPECT_FALSE(written.contains("num_key_value_heads"));
  EXPECT_EQ(model_config_from_json(written), config);
  Json newer = pythia();
  newer.erase("rotary_pct");
  newer["rope_parameters"] = {{"rope_theta", 10000.0},
                              {"partial_rotary_factor", 1.0}};
  EXPECT_EQ(model_config_from_json(newer).rotary_dim(), 16);
  EXPECT_EQ(model_config_from_json(newer).rope_theta, 10000);
  newer.erase("rope_parameters");  // the class's quarter
  EXPECT_EQ(model_config_from_json(newer).rotary_dim(), 4);
}

TEST(GptNeox, WhatItsClassDoesNotComputeIsRefused) {
  const auto with = [](const char* key, const Json& value) {
    Json json = pythia();
    json[key] = value;
    return reading(json);
  };
  EXPECT_THAT(with("num_key_value_heads", 2), HasSubstr("as its class forms"));
  EXPECT_THAT(with("head_dim", 32), HasSubstr("as its class forms it"));
  EXPECT_THAT(with("hidden_size", 66), HasSubstr("is not a multiple of"));
  EXPECT_THAT(with("hidden_act", "gelu_fast"), HasSubstr("'gelu_fast'"));
  EXPECT_THAT(with("rotary_pct", 0.05), HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(with("rotary_pct", 0.2), HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(with("partial_rotary_factor", 0.25),
              HasSubstr("'partial_rotary_factor' is"));
}

// Shapes without a class, and only what sets them apart is stated.
TEST(GptNeox, AMixtureOfItsShapeIsOurs) {
  ModelConfig config = model_config_from_json(pythia());
  config.num_experts = 4;
  config.num_experts_per_tok = 2;
  const Json json = to_json(config);
  EXPECT_EQ(json["model_type"], "annuli_moe");
  EXPECT_EQ(json["norm_type"], "layer");
  EXPECT_EQ(json["fused_qkv"], true);
  EXPECT_EQ(model_config_from_json(json), config);
  const Json other = to_json(make_config(true, false, false));
  for (const char* key : {"norm_type", "fused_qkv", "parallel_residual",
                          "partial_rotary_factor"}) {
    EXPECT_FALSE(other.contains(key)) << key;
    EXPECT_FALSE(other["rope_parameters"].contains(key)) << key;
  }
}

// A shape that its class cannot state, whatever else it has.
TEST(GptNeox, HeadsThatAreNotPlainBelongToAnother) {
  ModelConfig config = model_config_from_json(pythia());
  config.head_dim = 20;
  EXPECT_EQ(model_type(config), "annuli");
  EXPECT_EQ(model_config_from_json(to_json(config)), config);
  config.hidden_size = 66;
  EXPECT_EQ(model_type(config), "annuli");
  config = make_config(false, false, true);
  config.hidden_size = 31;
  EXPECT_EQ(model_type(config), "annuli");
}

TEST(GptNeox, SwitchesThatDoNotGoTogetherAreRefused) {
  const auto checking = [](void (*change)(ModelConfig&)) {
    ModelConfig config = make_config(false, false, false);
    change(config);
    return message_of([&] { validate(config); });
  };
  EXPECT_THAT(checking([](ModelConfig& c) { c.fused_qkv = true; }),
              HasSubstr("num_key_value_heads is 2"));
  EXPECT_THAT(checking([](ModelConfig& c) {
                c.norm_type = NormType::kLayer;
                c.norm_placement = NormPlacement::kPost;
              }),
              HasSubstr("norm_placement"));
  EXPECT_THAT(checking([](ModelConfig& c) {
                c.parallel_residual = true;
                c.norm_placement = NormPlacement::kPost;
              }),
              HasSubstr("norm_placement"));
  EXPECT_THAT(checking([](ModelConfig& c) { c.partial_rotary_factor = 1.5; }),
              HasSubstr("at most 1"));
}

}  // namespace
}  // namespace annuli

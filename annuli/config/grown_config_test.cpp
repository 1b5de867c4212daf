#include "annuli/config/grown_config.h"

#include <gtest/gtest.h>

#include <numeric>

#include "annuli/core/error.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

std::vector<int64_t> identity(int64_t layers) {
  std::vector<int64_t> map(layers);
  std::iota(map.begin(), map.end(), 0);
  return map;
}

// A config.json as transformers 4 wrote it: nothing said that is a default.
Json mistral() {
  return Json::parse(R"({
    "architectures": ["MistralForCausalLM"], "bos_token_id": 1,
    "eos_token_id": [2, 7, 9], "hidden_act": "silu", "hidden_size": 64,
    "initializer_range": 0.02, "intermediate_size": 112,
    "max_position_embeddings": 128, "model_type": "mistral",
    "num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05, "rope_theta": 5000.0, "sliding_window": null,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.34.0.dev0", "use_cache": true,
    "vocab_size": 307, "our_own_key": {"kept": [1, 2]}})");
}

Json qwen3() {
  return Json::parse(R"({
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": true,
    "dtype": "float32", "head_dim": 24, "hidden_act": "silu",
    "hidden_size": 64, "intermediate_size": 112,
    "layer_types": ["full_attention", "full_attention", "full_attention"],
    "max_position_embeddings": 128, "max_window_layers": 28,
    "model_type": "qwen3", "num_attention_heads": 4, "num_hidden_layers": 3,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"},
    "sliding_window": null, "tie_word_embeddings": true,
    "use_sliding_window": false, "vocab_size": 307})");
}

TEST(GrownConfig, KeepsTheFamilyWhereItCan) {
  ModelConfig child = model_config_from_json(mistral());
  child.hidden_size *= 2;
  child.num_attention_heads *= 2;
  child.num_key_value_heads *= 2;
  const Json json = grown_config_json(mistral(), child, identity(3), "float32");
  EXPECT_EQ(json["model_type"], "mistral");
  EXPECT_EQ(json["architectures"][0], "MistralForCausalLM");
  EXPECT_EQ(json["hidden_size"], 128);
  EXPECT_EQ(json["head_dim"], 16);  // was hidden_size / heads; says so now
  EXPECT_EQ(json["our_own_key"], mistral()["our_own_key"]);
  EXPECT_EQ(json["eos_token_id"], mistral()["eos_token_id"]);
  EXPECT_TRUE(json["sliding_window"].is_null());
  EXPECT_EQ(json["dtype"], "float32");
  EXPECT_EQ(json["torch_dtype"], "float32");
}

TEST(GrownConfig, WritesBothFormsOfTheRotaryPositions) {
  const ModelConfig child = model_config_from_json(mistral());
  const Json json = grown_config_json(mistral(), child, identity(3), "float16");
  EXPECT_EQ(json["rope_theta"], 5000.0);
  EXPECT_EQ(json["rope_parameters"]["rope_theta"], 5000.0);
  EXPECT_EQ(json["rope_parameters"]["rope_type"], "default");
  EXPECT_TRUE(json["rope_scaling"].is_null());
}

// A window that holds the parent's longest sequence and not the child's.
TEST(GrownConfig, AWindowIsOffWhereSequencesOutgrowIt) {
  Json parent = mistral();
  parent["sliding_window"] = 128;
  ModelConfig child = model_config_from_json(parent);
  child.max_position_embeddings = 256;
  Json json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_TRUE(json["sliding_window"].is_null());
  EXPECT_EQ(json["max_position_embeddings"], 256);

  parent = qwen3();
  parent["use_sliding_window"] = true;
  parent["sliding_window"] = 128;
  parent["layer_types"][1] = "sliding_attention";
  child = model_config_from_json(parent);
  child.max_position_embeddings = 256;
  json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_EQ(json["layer_types"],
            Json(std::vector<std::string>(3, "full_attention")));
  EXPECT_FALSE(json["use_sliding_window"]);
  child.max_position_embeddings = 128;
  json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_EQ(json["sliding_window"], 128);
}

TEST(GrownConfig, AMixtureGetsTheClassOfItsShape) {
  ModelConfig child = model_config_from_json(mistral());
  child.num_experts = 4;
  child.num_experts_per_tok = 2;
  Json json = grown_config_json(mistral(), child, identity(3), "bfloat16");
  EXPECT_EQ(json["model_type"], "mixtral");
  EXPECT_EQ(json["architectures"][0], "MixtralForCausalLM");
  EXPECT_EQ(json["num_local_experts"], 4);
  EXPECT_TRUE(json.contains("our_own_key"));

  child = model_config_from_json(qwen3());
  child.num_experts = 4;
  child.num_experts_per_tok = 2;
  json = grown_config_json(qwen3(), child, identity(3), "bfloat16");
  EXPECT_EQ(json["model_type"], "qwen3_moe");
  EXPECT_EQ(json["norm_topk_prob"], true);  // its default is false
  EXPECT_EQ(json["attention_bias"], true);
  EXPECT_EQ(json["moe_intermediate_size"], 112);
  EXPECT_FALSE(json.contains("layer_types"));
}

TEST(GrownConfig, ListsOfLayersGrowByTheMap) {
  Json parent = qwen3();
  parent["suppress_tokens"] = {7, 8, 9};  // three as well, but not of layers
  ModelConfig child = model_config_from_json(parent);
  child.num_hidden_layers = 5;
  const Json json =
      grown_config_json(parent, child, {0, 1, 1, 2, 2}, "float32");
  EXPECT_EQ(json["layer_types"],
            Json(std::vector<std::string>(5, "full_attention")));
  EXPECT_EQ(json["suppress_tokens"], Json({7, 8, 9}));
  EXPECT_EQ(json["num_hidden_layers"], 5);
  EXPECT_THROW(grown_config_json(parent, child, identity(3), "float32"),
               CheckFailure);
}

// What the parent's class has by default its child states where the child's
// class has another default.
TEST(GrownConfig, DefaultsOfTheParentsClassAreWrittenOut) {
  Json parent = mistral();
  for (const char* key : {"bos_token_id", "eos_token_id", "rope_theta",
                          "num_key_value_heads", "rms_norm_eps"}) {
    parent.erase(key);
  }
  parent["num_attention_heads"] = 8;
  ModelConfig child = model_config_from_json(parent);
  EXPECT_EQ(child.rms_norm_eps, 1e-6);
  child.num_experts = 4;
  child.num_experts_per_tok = 2;
  Json json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_EQ(json["model_type"], "mixtral");
  EXPECT_EQ(json["rms_norm_eps"], 1e-6);  // 1e-5 in a mixtral
  EXPECT_EQ(json["rope_theta"], 10000);   // 1e6 in a mixtral
  EXPECT_EQ(json["num_key_value_heads"], 8);
  EXPECT_FALSE(json.contains("bos_token_id"));  // 1 in both
  child.qkv_bias = true;                        // a class of ours, with no ids
  json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_EQ(json["bos_token_id"], 1);
  EXPECT_EQ(json["eos_token_id"], 2);
}

TEST(GrownConfig, KeysThatWereNoPartOfTheParentsClassAreNotOfTheChilds) {
  Json parent = mistral();
  parent["model_type"] = "llama";
  parent["sliding_window"] = 16;  // none of these is read by a llama's class
  parent["router_jitter_noise"] = 0.5;
  parent["num_experts"] = 1;
  parent["output_router_logits"] = true;
  ModelConfig child = model_config_from_json(parent);
  child.num_experts = 4;
  child.num_experts_per_tok = 2;
  const Json json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_EQ(json["model_type"], "mixtral");
  for (const char* key : {"sliding_window", "router_jitter_noise",
                          "num_experts", "output_router_logits"}) {
    EXPECT_FALSE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["our_own_key"], parent["our_own_key"]);
}

TEST(GrownConfig, NewLayersHaveNoWindow) {
  Json parent = qwen3();
  parent.erase("layer_types");
  parent.update({{"use_sliding_window", true},
                 {"sliding_window", 16},
                 {"max_window_layers", 3}});
  ModelConfig child = model_config_from_json(parent);
  child.num_hidden_layers = 5;
  Json json = grown_config_json(parent, child, {0, 1, 2, 2, 2}, "float32");
  EXPECT_EQ(json["use_sliding_window"], false);
  // One that is longer than all positions stays as it stands.
  parent["sliding_window"] = 128;
  json = grown_config_json(parent, child, {0, 1, 2, 2, 2}, "float32");
  EXPECT_EQ(json["use_sliding_window"], true);
  EXPECT_EQ(json["max_window_layers"], 3);
}

TEST(GrownConfig, AMultiplierMakesALlamaAGranite) {
  Json parent = mistral();
  parent["model_type"] = "llama";
  ModelConfig child = model_config_from_json(parent);
  child.logit_multiplier = 1.0 / 3;
  Json json = grown_config_json(parent, child, identity(3), "float32");
  EXPECT_EQ(json["model_type"], "granite");
  EXPECT_EQ(json["logits_scaling"], 3.0);
  EXPECT_EQ(json["attention_multiplier"], 0.25);
  // And a divisor whose inverse is not exact survives a second growth.
  for (int64_t divisor = 1; divisor < 200; ++divisor) {
    child.logit_multiplier = 1.0 / static_cast<double>(divisor);
    EXPECT_NO_THROW(grown_config_json(json, child, identity(3), "float32"));
  }
}

TEST(GrownConfig, KeysThatStayAreThoseOfTheFile) {
  Json parent = mistral();
  parent["model_type"] = "qwen3_moe";
  parent["num_experts"] = 4;
  parent["num_experts_per_tok"] = 2;
  parent["moe_intermediate_size"] = 40;
  ModelConfig child = model_config_from_json(parent);
  EXPECT_FALSE(child.norm_topk_prob);
  child.num_hidden_layers = 2;
  const Json json = grown_config_json(parent, child, {0, 2}, "float32");
  EXPECT_EQ(json["norm_topk_prob"], false);
  EXPECT_EQ(json["intermediate_size"], 112);  // of no layer
  EXPECT_EQ(json["moe_intermediate_size"], 40);
}

}  // namespace
}  // namespace annuli

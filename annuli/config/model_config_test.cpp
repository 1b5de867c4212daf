#include "annuli/config/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "annuli/config/model_config_for_tests.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct FamilyCase {
  bool mixture;
  bool gated;
  bool qk_norm;
  const char* type;
  const char* architecture;
};

constexpr FamilyCase kFamilies[] = {
    {false, true, false, "llama", "LlamaForCausalLM"},
    {false, false, false, "arcee", "ArceeForCausalLM"},
    {false, true, true, "qwen3", "Qwen3ForCausalLM"},
    {false, false, true, "annuli", "AnnuliForCausalLM"},
    {true, true, false, "mixtral", "MixtralForCausalLM"},
    {true, true, true, "qwen3_moe", "Qwen3MoeForCausalLM"},
    {true, false, false, "annuli_moe", "AnnuliMoeForCausalLM"},
    {true, false, true, "annuli_moe", "AnnuliMoeForCausalLM"},
};

TEST(ModelConfig, EveryFamilySurvivesItsJson) {
  for (const auto& family : kFamilies) {
    const ModelConfig config =
        make_config(family.mixture, family.gated, family.qk_norm);
    const Json json = to_json(config);
    EXPECT_EQ(model_type(config), family.type);
    EXPECT_EQ(json["model_type"], family.type);
    EXPECT_EQ(json["architectures"][0], family.architecture);
    const auto reread = Json::parse(json.dump());
    EXPECT_TRUE(model_config_from_json(reread) == config) << json.dump(1);
  }
}

struct ShapeCase {
  void (*change)(ModelConfig&);
  const char* dense;    // the family of a dense model that is so changed
  const char* mixture;  // and of a mixture
};

const ShapeCase kShapes[] = {
    {[](auto& c) { c.qkv_bias = true; }, "qwen2", "annuli_moe"},
    {[](auto& c) { c.qkv_bias = c.o_bias = true; }, "llama", "annuli_moe"},
    {[](auto& c) { c.o_bias = true; }, "annuli", "annuli_moe"},
    {[](auto& c) { c.mlp_bias = true; }, "llama", "annuli_moe"},
    {[](auto& c) {
       c.qkv_bias = c.o_bias = true;
       c.qk_norm = QkNorm::kHead;
     },
     "qwen3", "qwen3_moe"},
    {[](auto& c) {
       c.qk_norm = QkNorm::kFull;
       c.norm_placement = NormPlacement::kPost;
     },
     "olmo2", "annuli_moe"},
    {[](auto& c) { c.qk_norm = QkNorm::kFull; }, "annuli", "annuli_moe"},
    {[](auto& c) { c.logit_multiplier = 0.125; }, "granite", "annuli_moe"},
    {[](auto& c) {
       c.logit_multiplier = 1.0 / 3;
       c.gated = false;
     },
     "annuli", "annuli_moe"},
    {[](auto& c) { c.hidden_act = Activation::kRelu2; }, "llama", "mixtral"},
    {[](auto& c) {
       c.rope_scaling = {RopeScaling::Type::kLinear, 2.5};
     },
     "llama", "mixtral"},
    {[](auto& c) {
       c.rope_scaling = {RopeScaling::Type::kLlama3, 8, 1, 4, 64};
     },
     "llama", "mixtral"},
    {[](auto& c) {
       c.rope_scaling = {.type = RopeScaling::Type::kYarn,
                         .factor = 8,
                         .original_max_position_embeddings = 64,
                         .beta_fast = 16,
                         .beta_slow = 2,
                         .attention_factor = 1.5,
                         .truncate = false};
     },
     "llama", "mixtral"},
    {[](auto& c) {
       c.qkv_bias = true;
       if (c.is_mixture()) c.shared_expert_intermediate_size = 12;
     },
     "qwen2", "qwen2_moe"},
    {[](auto& c) {
       if (c.is_mixture()) c.norm_topk_prob = false;
     },
     "llama", "annuli_moe"},
    {[](auto& c) {
       c.qk_norm = QkNorm::kHead;
       if (c.is_mixture()) c.norm_topk_prob = false;
     },
     "qwen3", "qwen3_moe"},
};

TEST(ModelConfig, EveryShapeHasAFamilyThatSaysAllOfIt) {
  for (const ShapeCase& shape : kShapes) {
    for (const bool mixture : {false, true}) {
      ModelConfig config = make_config(mixture, true, false);
      shape.change(config);
      validate(config);
      EXPECT_EQ(model_type(config), mixture ? shape.mixture : shape.dense);
      const auto reread = Json::parse(to_json(config).dump());
      EXPECT_TRUE(model_config_from_json(reread) == config) << reread.dump(1);
    }
  }
}

// Control for the test above: equality sees a change of any field.
TEST(ModelConfig, EqualitySeesEachFieldOfTheJson) {
  const ModelConfig config = make_config(true, true, false);
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_local_experts", "max_position_embeddings"}) {
    Json json = to_json(config);
    json[key] = json[key].get<int64_t>() + 1;
    EXPECT_FALSE(model_config_from_json(json) == config) << key;
  }
}

TEST(ModelConfig, ReadsWhatTransformersWrites) {
  const auto json = Json::parse(R"({
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
    "attention_bias": false, "decoder_sparse_step": 1, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
    "max_position_embeddings": 40960, "mlp_only_layers": [],
    "moe_intermediate_size": 768, "norm_topk_prob": true,
    "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 48, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
    "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": null,
    "tie_word_embeddings": false, "use_sliding_window": false,
    "vocab_size": 151936})");
  const ModelConfig config = model_config_from_json(json);
  EXPECT_EQ(config.intermediate_size, 768);  // of one expert
  EXPECT_EQ(config.num_experts, 128);
  EXPECT_EQ(config.qk_norm, QkNorm::kHead);
  EXPECT_TRUE(config.gated && !config.tie_word_embeddings);
}

TEST(ModelConfig, ReadsBothFormsOfTheRotaryPositions) {
  const RopeScaling llama3{RopeScaling::Type::kLlama3, 8, 1, 4, 8192};
  const Json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  Json v4 = to_json(make_config(false, true, false));
  v4.erase("rope_parameters");
  v4["rope_scaling"] = scaling;
  EXPECT_EQ(model_config_from_json(v4).rope_scaling, llama3);
  EXPECT_EQ(model_config_from_json(v4).rope_theta, 500000);

  Json v5 = v4;
  v5.erase("rope_scaling");
  v5.erase("rope_theta");
  v5["rope_parameters"] = scaling;
  v5["rope_parameters"]["rope_theta"] = 7e4;
  EXPECT_EQ(model_config_from_json(v5).rope_scaling, llama3);
  EXPECT_EQ(model_config_from_json(v5).rope_theta, 7e4);

  v4["rope_scaling"].erase("original_max_position_embeddings");
  EXPECT_EQ(
      model_config_from_json(v4).rope_scaling.original_max_position_embeddings,
      77);
}

TEST(ModelConfig, ReadsYarnAsTransformersDoes) {
  Json json = to_json(make_config(false, true, false));
  json.erase("rope_parameters");
  json["rope_scaling"] = {{"type", "yarn"},
                          {"factor", 4.0},
                          {"beta_fast", 0},
                          {"attention_factor", nullptr}};
  RopeScaling expected{.type = RopeScaling::Type::kYarn,
                       .factor = 4,
                       .original_max_position_embeddings = 77,
                       .attention_factor = 0.1 * std::log(4.0) + 1};
  EXPECT_EQ(model_config_from_json(json).rope_scaling, expected);

  json["rope_scaling"]["mscale"] = 1.5;
  json["rope_scaling"]["mscale_all_dim"] = 0.5;
  expected.attention_factor =
      (0.15 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1);
  EXPECT_EQ(model_config_from_json(json).rope_scaling, expected);

  // How much longer the model has become, if it is not stated.
  json["rope_scaling"] = {{"rope_type", "yarn"},
                          {"factor", nullptr},
                          {"attention_factor", 1.0},
                          {"original_max_position_embeddings", 7}};
  EXPECT_EQ(model_config_from_json(json).rope_scaling.factor, 11);
}

TEST(ModelConfig, ReadsTheNumberOfExpertsUnderEitherName) {
  const Json both = to_json(make_config(true, true, true));
  ASSERT_EQ(both["model_type"], "qwen3_moe");
  for (const char* key : {"num_experts", "num_local_experts"}) {
    Json json = both;
    json.erase(key);
    EXPECT_EQ(model_config_from_json(json).num_experts, 5);
    json[key] = 6;
    EXPECT_THAT(reading(json), HasSubstr("expected the same"));
  }
  Json mixtral = to_json(make_config(true, true, false));
  mixtral["num_experts"] = 6;
  EXPECT_THAT(reading(mixtral), HasSubstr("expected the same"));
  mixtral.erase("num_local_experts");
  EXPECT_EQ(model_config_from_json(mixtral).num_experts, 6);
}

TEST(ModelConfig, RefusesMultipliersThatNoLlamaHas) {
  ModelConfig config = make_config(false, true, false);
  config.logit_multiplier = 0.25;
  const Json good = to_json(config);
  EXPECT_NO_THROW(model_config_from_json(good));
  for (const char* key : {"embedding_multiplier", "residual_multiplier",
                          "attention_multiplier"}) {
    Json json = good;
    json[key] = 12.0;
    EXPECT_THAT(reading(json), HasSubstr(key));
  }
}

// The class of a Mistral slides where its config says nothing.
TEST(ModelConfig, AMistralIsALlamaWithoutItsWindow) {
  Json json = to_json(make_config(false, true, false));
  json["model_type"] = "mistral";
  EXPECT_NO_THROW(model_config_from_json(json));
  json["max_position_embeddings"] = 8192;
  EXPECT_THAT(reading(json), HasSubstr("sliding_window is 4096"));
  json["sliding_window"] = nullptr;
  EXPECT_EQ(model_type(model_config_from_json(json)), "llama");
}

TEST(ModelConfig, FillsWhatMayBeAbsent) {
  Json json = to_json(make_config(false, true, false));
  json["head_dim"] = nullptr;
  json["num_key_value_heads"] = nullptr;
  json.erase("rope_parameters");
  json.erase("tie_word_embeddings");
  const ModelConfig config = model_config_from_json(json);
  EXPECT_EQ(config.head_dim, 4);  // 24 / 6
  EXPECT_EQ(config.num_key_value_heads, 6);
  EXPECT_EQ(config.rope_theta, 500000);
  EXPECT_FALSE(config.tie_word_embeddings);
}

// The walk over all of them is tests/cases/config_defaults_test.py.
TEST(ModelConfig, WhatIsAbsentIsAsInItsClass) {
  const auto read = [](const char* type) {
    return model_config_from_json({{"model_type", type}});
  };
  EXPECT_EQ(read("llama").hidden_size, 4096);
  EXPECT_EQ(read("llama").num_key_value_heads, 32);
  EXPECT_EQ(read("llama").rms_norm_eps, 1e-6);
  EXPECT_EQ(read("arcee").hidden_act, Activation::kRelu2);
  EXPECT_EQ(read("mixtral").max_position_embeddings, 131072);
  EXPECT_EQ(read("mixtral").rope_theta, 1e6);
  EXPECT_EQ(read("qwen3").head_dim, 128);
  EXPECT_EQ(read("qwen3_moe").head_dim, 64);
  EXPECT_EQ(read("qwen3_moe").intermediate_size, 768);
  EXPECT_FALSE(read("qwen3_moe").norm_topk_prob);
  EXPECT_EQ(read("qwen2_moe").shared_expert_intermediate_size, 5632);
  EXPECT_THAT(reading({{"model_type", "mistral"}}),
              HasSubstr("sliding_window is 4096"));
  EXPECT_THAT(reading({{"model_type", "granite"}}),
              HasSubstr("'attention_multiplier' is 1"));
}

TEST(ModelConfig, NullIsReadWhereTheClassTakesIt) {
  Json json = to_json(make_config(false, true, true));
  ASSERT_EQ(json["model_type"], "qwen3");
  json["num_key_value_heads"] = nullptr;
  EXPECT_EQ(model_config_from_json(json).num_key_value_heads, 6);
  for (const char* key : {"head_dim", "max_position_embeddings", "hidden_act",
                          "attention_bias", "tie_word_embeddings"}) {
    Json changed = json;
    changed[key] = nullptr;
    EXPECT_THAT(reading(changed), HasSubstr(fmt::format("'{}' is", key)));
  }
}

TEST(ModelConfig, ASizeThatWasLeftOutIsNamedWithTheComplaint) {
  Json json = to_json(make_config(false, true, false));
  json["model_type"] = "mistral";
  json["num_attention_heads"] = 12;
  json.erase("num_key_value_heads");
  EXPECT_THAT(reading(json),
              HasSubstr("12 is not a multiple of num_key_value_heads 8; not "
                        "stated by config.json, and taken from a mistral: "
                        "num_key_value_heads 8"));
  json["num_key_value_heads"] = 5;
  EXPECT_THAT(reading(json), Not(HasSubstr("not stated")));
}

TEST(ModelConfig, OtherWordsForAnActivation) {
  Json json = to_json(make_config(false, true, false));
  json["hidden_act"] = "swish";
  EXPECT_EQ(model_config_from_json(json).hidden_act, Activation::kSilu);
  json["hidden_act"] = "gelu_python";
  EXPECT_EQ(model_config_from_json(json).hidden_act, Activation::kGelu);
}

struct WindowCase {
  Json changes;
  const char* message;
};

// Three layers, 77 positions.
TEST(ModelConfig, AWindowCountsWhereALayerHasIt) {
  const WindowCase cases[] = {
      {{{"sliding_window", 16}}, "no UserError"},  // not in use
      {{{"use_sliding_window", true}, {"sliding_window", 77}}, "no UserError"},
      {{{"use_sliding_window", true},
        {"sliding_window", 16},
        {"max_window_layers", 3}},
       "no UserError"},
      {{{"use_sliding_window", true},
        {"sliding_window", 16},
        {"max_window_layers", 2}},
       "sliding_window is 16, below max_position_embeddings 77"},
      {{{"use_sliding_window", true},
        {"max_window_layers", 0},
        {"max_position_embeddings", 8192}},
       "sliding_window is 4096, below max_position_embeddings 8192, which no "
       "model here computes; for texts of up to 4096 tokens, set "
       "max_position_embeddings to 4096"},
      {{{"use_sliding_window", true},
        {"sliding_window", 16},
        {"max_window_layers", 0},
        {"layer_types", std::vector<std::string>(3, "full_attention")}},
       "no UserError"},
      {{{"use_sliding_window", true},
        {"sliding_window", nullptr},
        {"max_window_layers", 0}},
       "no UserError"},
      {{{"layer_types", std::vector<std::string>(3, "sliding_attention")},
        {"sliding_window", 16}},
       "sliding_window is null or switched off"},
      {{{"layer_types", {"full_attention"}}}, "has 1 entries, expected one"},
      {{{"use_sliding_window", nullptr}}, "'use_sliding_window' is 'null'"},
  };
  for (const WindowCase& window : cases) {
    Json json = to_json(make_config(false, true, true));
    json.update(window.changes);
    EXPECT_THAT(reading(json), HasSubstr(window.message)) << window.changes;
  }
  // Of Qwen2-MoE, layers 0, 2, ... below max_window_layers.
  ModelConfig config = make_config(true, true, false);
  config.qkv_bias = true;
  config.shared_expert_intermediate_size = 12;
  Json json = to_json(config);
  ASSERT_EQ(json["model_type"], "qwen2_moe");
  json.update({{"use_sliding_window", true},
               {"sliding_window", 16},
               {"max_window_layers", 0}});
  EXPECT_EQ(reading(json), "no UserError");
  json["max_window_layers"] = 1;
  EXPECT_THAT(reading(json), HasSubstr("sliding_window is 16"));
}

}  // namespace
}  // namespace annuli

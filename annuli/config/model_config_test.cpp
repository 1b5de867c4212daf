#include "annuli/config/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "annuli/core/error.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ModelConfig make_config(bool mixture, bool gated, bool qk_norm) {
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

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no UserError";
}

std::string reading(const nlohmann::json& json) {
  const std::string message = message_of([&] { model_config_from_json(json); });
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  return message;
}

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
    const nlohmann::json json = to_json(config);
    EXPECT_EQ(model_type(config), family.type);
    EXPECT_EQ(json["model_type"], family.type);
    EXPECT_EQ(json["architectures"][0], family.architecture);
    const auto reread = nlohmann::json::parse(json.dump());
    EXPECT_TRUE(model_config_from_json(reread) == config) << json.dump(1);
  }
}

// Control for the test above: equality sees a change of any field.
TEST(ModelConfig, EqualitySeesEachFieldOfTheJson) {
  const ModelConfig config = make_config(true, true, false);
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_local_experts", "max_position_embeddings"}) {
    nlohmann::json json = to_json(config);
    json[key] = json[key].get<int64_t>() + 1;
    EXPECT_FALSE(model_config_from_json(json) == config) << key;
  }
}

TEST(ModelConfig, ReadsWhatTransformersWrites) {
  const auto json = nlohmann::json::parse(R"({
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

TEST(ModelConfig, FillsWhatMayBeAbsent) {
  nlohmann::json json = to_json(make_config(false, true, false));
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

struct BadJson {
  const char* key;
  nlohmann::json value;
  const char* message;
};

TEST(ModelConfig, RefusesWhatItWouldReadWrongly) {
  const BadJson cases[] = {
      {"hidden_size", 24.5, "'hidden_size' is '24.5', expected an integer"},
      {"hidden_size", true, "expected an integer"},
      {"hidden_size", uint64_t{1} << 63, "expected an integer"},
      {"hidden_size", nullptr, "expected an integer"},
      {"rms_norm_eps", "1e-5", "expected a number"},
      {"tie_word_embeddings", 1, "expected true or false"},
      {"model_type", "gpt2", "found model_type 'gpt2'"},
      {"model_type", "a\nb", "found model_type 'a\\x0ab'"},
      {"hidden_act", "relu2", "found hidden_act 'relu2'"},
      {"attention_bias", true, "attention_bias is true"},
      {"mlp_bias", true, "mlp_bias is true"},
      {"sliding_window", 16, "sliding_window"},
      {"rope_scaling", {{"rope_type", "llama3"}}, "rope_scaling"},
      {"rope_parameters",
       {{"rope_type", "yarn"}, {"rope_theta", 1e4}},
       "rope_type"},
      {"qk_norm", true, "'mixtral' with fields of 'qwen3_moe'"},
      {"num_local_experts", 0, "num_experts 0"},
      {"norm_topk_prob", false, "norm_topk_prob is false"},
  };
  for (const auto& bad : cases) {
    nlohmann::json json = to_json(make_config(true, true, false));
    EXPECT_NO_THROW(model_config_from_json(json));
    json[bad.key] = bad.value;
    EXPECT_THAT(reading(json), HasSubstr(bad.message)) << bad.key;
  }
  EXPECT_THAT(reading(nlohmann::json::array()), HasSubstr("found array"));
  EXPECT_THAT(reading({{"model_type", "llama"}}),
              HasSubstr("no 'vocab_size', expected an integer"));
}

}  // namespace
}  // namespace annuli

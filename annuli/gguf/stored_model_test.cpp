#include "annuli/gguf/stored_model.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/core/user_error_for_tests.h"
#include "annuli/gguf/tensor_names.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/tiny_model.h"

namespace annuli::gguf {
namespace {

using testing::HasSubstr;

StoredModel opened(const std::string& bytes) {
  return StoredModel(File(std::as_bytes(std::span(bytes)), "tiny.gguf"));
}

std::string refusal(const std::string& bytes) {
  return test::user_error_of([&] { opened(bytes); });
}

// Those of the shapes that llama.cpp computes.
std::vector<ModelConfig> exported() {
  std::vector<ModelConfig> configs;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const ModelConfig config = tiny::config(flavour);
    try {
      architecture_of(config, model_type(config), "testing");
      configs.push_back(config);
    } catch (const UserError&) {
    }
  }
  return configs;
}

void expect_same(const Transformer& model, const StoredModel& read) {
  for (size_t row = 0; row < model.table().size(); ++row) {
    const StoredRow& stored = read.rows().at(row);
    EXPECT_EQ(stored.name, model.table()[row].name);
    EXPECT_EQ(stored.dtype, model.weight(row).scalar_type()) << stored.name;
    EXPECT_TRUE(at::equal(read.make(stored), model.weight(row)))
        << stored.name << " of a " << model_type(model.config());
  }
}

TEST(StoredModel, GivesBackWhatWasExported) {
  const std::vector<ModelConfig> configs = exported();
  ASSERT_GE(configs.size(), 8U);
  for (const ModelConfig& config : configs) {
    const Transformer model = tiny::model(config, at::kFloat);
    const std::string bytes = test::gguf_bytes(model, Type::kF32);
    const StoredModel read = opened(bytes);
    EXPECT_EQ(read.config_json(), to_json(config));
    EXPECT_EQ(read.note(), "");
    expect_same(model, read);
  }
}

// The keys of llama.cpp say all that is computed.
TEST(StoredModel, NeedsNoKeyOfOurs) {
  for (ModelConfig config : exported()) {
    if (config.rope_scaling.type == RopeScaling::Type::kLlama3) {
      config.rope_scaling.original_max_position_embeddings = 256;
      config.rope_scaling.factor = 3;
    }
    config.partial_rotary_factor = static_cast<double>(config.rotary_dim()) /
                                   static_cast<double>(config.head_dim);
    const Transformer model = tiny::model(config, at::kFloat);
    const std::string bytes =
        test::foreign(test::gguf_bytes(model, Type::kF32));
    const StoredModel read = opened(bytes);
    ModelConfig found = model_config_from_json(read.config_json());
    // What llama.cpp's loader wants twice, or as zeros.
    const Architecture& architecture =
        architecture_of(config, model_type(config), "testing");
    if (!architecture.takes_tied_head) config.tie_word_embeddings = false;
    if (architecture.needs_biases) config.qkv_bias = config.o_bias = true;
    found.initializer_range = config.initializer_range;  // read by nobody
    EXPECT_EQ(found, config) << to_json(found).dump() << to_json(config).dump();
  }
}

TEST(StoredModel, NarrowTypesComeBackWhole) {
  const ModelConfig config = tiny::config({.gated = true, .tied = false});
  Transformer model = tiny::model(config, at::kFloat);
  const StoredModel wide = opened(test::gguf_bytes(model, Type::kBf16));
  EXPECT_EQ(wide.rows().at(0).dtype, at::kBFloat16);
  // Gains that are no numbers of bf16 stay what they are.
  const auto gain =
      std::ranges::find(wide.rows(), Part::kInputNorm, &StoredRow::part);
  EXPECT_EQ(gain->dtype, at::kFloat);
}

TEST(StoredModel, OrderOfRowsIsTakenBack) {
  const ModelConfig config = tiny::config({.gated = true});
  const Architecture& llama = architecture_of(config, "llama", "testing");
  const Transformer model = tiny::model(config, at::kFloat);
  const at::Tensor q =
      model.weight(static_cast<size_t>(find_row(model.table(), Part::kQ, 0)));
  const at::Tensor turned = in_order(q, Part::kQ, llama, config.head_dim);
  EXPECT_FALSE(at::equal(turned, q));
  EXPECT_TRUE(
      at::equal(out_of_order(turned, Part::kQ, llama, config.head_dim), q));
  // With a head of four entries the two orders are one another's inverse; of
  // six they are not.
  EXPECT_FALSE(
      at::equal(in_order(turned, Part::kQ, llama, config.head_dim), q));
}

TEST(StoredModel, SaysThatBlocksAreDequantised) {
  ModelConfig config = tiny::config({.gated = true, .tied = false});
  config.hidden_size = 32;
  config.head_dim = 8;
  const Transformer model = tiny::model(config, at::kFloat);
  const std::string bytes = test::gguf_bytes(model, Type::kQ8_0);
  const StoredModel read = opened(bytes);
  EXPECT_THAT(read.note(), HasSubstr("of q8_0"));
  for (const StoredRow& row : read.rows()) EXPECT_EQ(row.dtype, at::kFloat);
}

// The last `from`: what a config.json says twice counts where it stands last.
std::string with(std::string bytes, const std::string& from,
                 const std::string& to) {
  const size_t at = bytes.rfind(from);
  EXPECT_NE(at, bytes.npos) << from;
  return bytes.replace(at, from.size(), to);
}

TEST(StoredModel, RefusesWhatItDoesNotCompute) {
  const Transformer model =
      tiny::model(tiny::config({.gated = true}), at::kFloat);
  const std::string good = test::gguf_bytes(model, Type::kF32);
  const std::string plain = test::foreign(good);
  EXPECT_THAT(refusal(with(plain, "llama.vocab_size", "llama.softcapped")),
              HasSubstr("llama.softcapped"));
  EXPECT_THAT(refusal(with(good, "\"head_dim\":6", "\"head_dim\":8")),
              HasSubstr("llama.attention.key_length is 6, expected 8"));
  EXPECT_THAT(refusal(with(good, "blk.1.ffn_up", "blk.1.ffn_ux")),
              HasSubstr("'blk.1.ffn_up.weight' is missing"));
  EXPECT_THAT(refusal(with(plain, "token_embd.weight", "token_embx.weight")),
              HasSubstr("'token_embd.weight' is missing"));
}

ModelConfig with_yarn() {
  ModelConfig config = tiny::config({.gated = true});
  config.rope_scaling = {.type = RopeScaling::Type::kYarn,
                         .factor = 4,
                         .original_max_position_embeddings = 96,
                         .attention_factor = yarn_attention_factor(4)};
  return config;
}

TEST(StoredModel, YarnComesBackFromKeysOfLlamaCpp) {
  for (const double factor : {yarn_attention_factor(4), 1.0, 0.75}) {
    ModelConfig config = with_yarn();
    config.rope_scaling.attention_factor = factor;
    const std::string bytes =
        test::gguf_bytes(tiny::model(config, at::kFloat), Type::kF32);
    EXPECT_EQ(opened(bytes).config_json(), to_json(config));
    ModelConfig found =
        model_config_from_json(opened(test::foreign(bytes)).config_json());
    EXPECT_TRUE(found.rope_scaling == config.rope_scaling) << factor;
  }
}

TEST(StoredModel, RefusesYarnThatIsAnother) {
  const std::string good =
      test::gguf_bytes(tiny::model(with_yarn(), at::kFloat), Type::kF32);
  const std::string plain = test::foreign(good);
  EXPECT_THAT(refusal(with(good, "embeddings\":96", "embeddings\":97")),
              HasSubstr("scaling.original_context_length is 96, expected 97"));
  EXPECT_THAT(
      refusal(with(plain, "scaling.attn_factor", "scaling.yarn_lo_mul")),
      HasSubstr("the key llama.rope.scaling.yarn_lo_mul"));
  // A key's name, and that a text of four bytes follows.
  const std::string type("scaling.type\x08\0\0\0\x04\0\0\0\0\0\0\0", 24);
  EXPECT_THAT(refusal(with(plain, type + "yarn", type + "yaru")),
              HasSubstr("'yaru', expected linear or yarn"));
}

TEST(StoredModel, RefusesARampThatLlamaCppHasNot) {
  const auto refusal_of = [](const auto& change) {
    ModelConfig config = with_yarn();
    change(config.rope_scaling);
    return test::user_error_of(
        [&] { architecture_of(config, "llama", "testing"); });
  };
  EXPECT_THAT(refusal_of([](RopeScaling& it) { it.truncate = false; }),
              HasSubstr("truncate false of rope_type yarn, expected true"));
  EXPECT_THAT(refusal_of([](RopeScaling& it) { it.beta_fast = 16; }),
              HasSubstr("beta_fast 16 of rope_type yarn, expected 32"));
  EXPECT_THAT(refusal_of([](RopeScaling& it) { it.beta_slow = 0.5; }),
              HasSubstr("beta_slow 0.5 of rope_type yarn, expected 1"));
}

}  // namespace
}  // namespace annuli::gguf

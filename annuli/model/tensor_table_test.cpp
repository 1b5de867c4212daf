#include "annuli/model/tensor_table.h"

#include <gtest/gtest.h>

#include <set>

namespace annuli {
namespace {

ModelConfig seed_config(int64_t layers, int64_t width, bool mixture,
                        bool tied) {
  ModelConfig config;
  config.num_hidden_layers = layers;
  config.hidden_size = width;
  config.num_attention_heads = width / 64;
  config.num_key_value_heads = width / 64;
  config.intermediate_size = 4 * width;
  config.num_experts = mixture ? 8 : 0;
  config.num_experts_per_tok = mixture ? 2 : 0;
  config.tie_word_embeddings = tied;
  return config;
}

void expect_millions(const ModelConfig& config, double total, double active) {
  const ParameterCount count = count_parameters(config);
  // The plan's figures are rounded to 0.1 M.
  EXPECT_NEAR(static_cast<double>(count.total) / 1e6, total, 0.05);
  EXPECT_NEAR(static_cast<double>(count.active) / 1e6, active, 0.05);
}

TEST(TensorTable, CountsTheSeedPlansParameters) {
  expect_millions(seed_config(12, 512, false, true), 63.5, 63.5);
  expect_millions(seed_config(12, 512, true, true), 239.7, 88.7);
  expect_millions(seed_config(12, 1024, true, false), 958.7, 354.7);
  expect_millions(seed_config(15, 1024, true, false), 1172.6, 417.7);
}

// By hand, per layer: 4 D^2 of attention, a router of E D, 3 D F an expert, and
// 3 D S + D of the shared expert and its gate, which every token uses.
TEST(TensorTable, CountsTheSharedExpertAsActive) {
  ModelConfig config = seed_config(1, 128, true, true);
  config.gated = true;
  const ParameterCount without = count_parameters(config);
  config.shared_expert_intermediate_size = 96;
  config.qkv_bias = true;
  const ParameterCount with = count_parameters(config);
  const int64_t added = 3 * 128 * 96 + 128 + 3 * 128;
  EXPECT_EQ(with.total - without.total, added);
  EXPECT_EQ(with.active - without.active, added);
  EXPECT_EQ(with.total - with.active, 6 * 3 * 128 * 512);
}

// No parameters, under the name that other mixtures have for them.
TEST(TensorTable, HasASelectionBiasInEachLayerOfAMixture) {
  ModelConfig config = seed_config(4, 128, true, true);
  const ParameterCount without = count_parameters(config);
  const size_t rows = tensor_table(config).size();
  config.selection_bias = true;
  EXPECT_EQ(count_parameters(config).total, without.total);
  EXPECT_EQ(count_parameters(config).active, without.active);
  const TensorTable table = tensor_table(config);
  EXPECT_EQ(table.size(), rows + 4);
  const TensorSpec& bias = table[find_row(table, Part::kSelectionBias, 2)];
  EXPECT_EQ(bias.name, "model.layers.2.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(bias.shape(), (std::vector<int64_t>{8}));
  EXPECT_FALSE(is_trained(bias.part) || is_bias(bias.part));
  EXPECT_EQ(bias.trained_entries(), 0);
}

TEST(TensorTable, NamesAreUniqueAndHuggingFaces) {
  ModelConfig config = seed_config(2, 128, true, false);
  config.gated = true;
  config.hidden_act = Activation::kSilu;
  std::set<std::string> names;
  for (const TensorSpec& spec : tensor_table(config)) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
  }
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
        "model.layers.1.self_attn.q_proj.weight",
        "model.layers.1.block_sparse_moe.gate.weight",
        "model.layers.1.block_sparse_moe.experts.7.w2.weight"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(TensorTable, ATiedHeadHasNoRow) {
  const TensorTable tied = tensor_table(seed_config(1, 128, false, true));
  const TensorTable untied = tensor_table(seed_config(1, 128, false, false));
  EXPECT_EQ(find_row(tied, Part::kHead), -1);
  EXPECT_EQ(untied.size(), tied.size() + 1);
  EXPECT_EQ(untied[find_row(untied, "lm_head.weight")].shape(),
            (std::vector<int64_t>{50257, 128}));
}

TEST(TensorTable, AxesSayWhatIsSummedOver) {
  ModelConfig config = seed_config(1, 128, false, true);
  config.num_key_value_heads = 1;
  const TensorTable table = tensor_table(config);
  const TensorSpec& k = table[find_row(table, Part::kK, 0)];
  EXPECT_EQ(k.dimensions[0],
            (Dimension{Axis::kKvHead, AxisRole::kProduced, 1, 64}));
  EXPECT_EQ(k.dimensions[1],
            (Dimension{Axis::kResidual, AxisRole::kContracted, 128, 1}));
  const TensorSpec& down = table[find_row(table, Part::kDown, 0)];
  EXPECT_EQ(down.dimensions[1].axis, Axis::kFfn);
  EXPECT_EQ(down.dimensions[1].role, AxisRole::kContracted);
}

}  // namespace
}  // namespace annuli

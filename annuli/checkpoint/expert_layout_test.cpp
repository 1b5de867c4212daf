#include "annuli/checkpoint/expert_layout.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/test_files.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using test::TestFolder;
using test::user_error_of;
using testing::HasSubstr;

ModelConfig mixture_config(int64_t intermediate_size = 40) {
  ModelConfig config =
      tiny::config({.mixture = true, .gated = true, .num_key_value_heads = 2});
  config.intermediate_size = intermediate_size;
  return config;
}

// The model's tensors as transformers 5 keeps them in memory, or turned.
std::vector<NamedTensor> fused(const Transformer& model, bool turned) {
  std::vector<NamedTensor> tensors;
  const TensorTable& table = model.table();
  const auto matrix = [&](Part part, int64_t layer, int64_t e) {
    return model.weight(find_row(table, part, layer, e));
  };
  const auto add = [&](const std::string& name,
                       const std::vector<at::Tensor>& experts) {
    const at::Tensor all = at::stack(experts);
    tensors.push_back({name, turned ? all.transpose(1, 2).contiguous() : all});
  };
  for (const TensorSpec& spec : table) {
    if (spec.expert >= 0) continue;
    std::string name = spec.name;
    if (spec.part == Part::kRouter) {
      name = fmt::format("model.layers.{}.mlp.gate.weight", spec.layer);
    }
    tensors.push_back({name, model.weight(find_row(table, spec.name))});
  }
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    std::vector<at::Tensor> gate_up, down;
    for (int64_t e = 0; e < model.config().num_experts; ++e) {
      gate_up.push_back(at::cat(
          {matrix(Part::kGate, layer, e), matrix(Part::kUp, layer, e)}));
      down.push_back(matrix(Part::kDown, layer, e));
    }
    const auto prefix = fmt::format("model.layers.{}.mlp.experts.", layer);
    add(prefix + "gate_up_proj", gate_up);
    add(prefix + "down_proj", down);
  }
  return tensors;
}

void write_folder(const fs::path& folder, const Transformer& model,
                  const std::vector<NamedTensor>& tensors) {
  fs::create_directories(folder);
  write_json(folder / "config.json", to_json(model.config()));
  write_safetensors(folder / "model.safetensors", tensors);
}

TEST(ExpertLayout, AllThreeAreTheSameModel) {
  // 24 is hidden_size D. F = D: down_proj fits both orders, gate_up_proj tells;
  // D = 2F: the other way round.
  for (const int64_t width : {40, 24, 12}) {
    for (const bool turned : {false, true}) {
      const TestFolder folder;
      const Transformer model = tiny::model(mixture_config(width), at::kFloat);
      write_folder(folder / "a", model, fused(model, turned));
      const std::string hash = content_hash(model);
      EXPECT_EQ(content_hash(load_model(folder / "a")), hash) << turned;
      EXPECT_EQ(content_hash(load_model(folder / "a", {.mapped = true})), hash);
      const Transformer stored =
          load_model(folder / "a", {.dtype = at::kDouble, .as_stored = true});
      const at::Tensor tokens = tiny::tokens(1, 8, 61);
      const ForwardOptions in_double{.double_arithmetic = true};
      EXPECT_LT(tiny::relative_error(model.logits(tokens, in_double),
                                     stored.logits(tokens)),
                1e-14);
    }
  }
}

TEST(ExpertLayout, RefusesWhatNothingTells) {
  const TestFolder folder;
  const Transformer model = tiny::model(mixture_config(12), at::kFloat);
  std::vector<NamedTensor> tensors = fused(model, false);
  std::erase_if(tensors, [](const NamedTensor& tensor) {
    return tensor.name.ends_with("experts.down_proj");
  });
  write_folder(folder / "a", model, tensors);
  const std::vector<std::string> faults = ModelFile(folder / "a").faults();
  EXPECT_THAT(faults, testing::Contains(testing::AllOf(
                          HasSubstr("model.layers.0.mlp.experts.gate_up_proj"),
                          HasSubstr("both orders"))));
}

TEST(ExpertLayout, NamesWhatIsWrong) {
  const TestFolder folder;
  const Transformer model = tiny::model(mixture_config(), at::kFloat);
  const auto error_after = [&](const std::string& name,
                               const at::Tensor& value) {
    std::vector<NamedTensor> tensors = fused(model, false);
    std::erase_if(tensors, [&](const auto& t) { return t.name == name; });
    if (value.defined()) tensors.push_back({name, value});
    write_folder(folder / "a", model, tensors);
    return user_error_of([&] { load_model(folder / "a"); });
  };
  const std::string down = "model.layers.1.mlp.experts.down_proj";
  EXPECT_THAT(error_after(down, {}),
              HasSubstr("'model.layers.1.block_sparse_moe.experts.0.w2.weight' "
                        "is missing"));
  EXPECT_THAT(error_after(down, at::stack({model.weight(0)})),
              HasSubstr("down_proj' is [1, 61, 24], expected [4, 24, 40] or "
                        "[4, 40, 24]"));
  EXPECT_EQ(error_after("none", {}), "");
}

}  // namespace
}  // namespace annuli

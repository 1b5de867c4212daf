#include "annuli/checkpoint/weight_files.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
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
using testing::AllOf;
using testing::HasSubstr;

NamedTensor tensor(const std::string& name, double value) {
  return {name, at::full({2}, value, at::kFloat)};
}

// The values of the one-row tensors that a folder's files hold, by name.
std::map<std::string, double> values(const fs::path& folder) {
  std::map<std::string, double> values;
  for (const auto& file : open_weights(folder)) {
    for (const TensorEntry& entry : file->entries()) {
      values[entry.name] = file->tensor(entry.name)[0].item<double>();
    }
  }
  return values;
}

std::string refusal(const fs::path& folder) {
  return user_error_of([&] { open_weights(folder); });
}

TEST(WeightFiles, TheFirstThatIsThereIsRead) {
  const TestFolder folder;
  write_safetensors(folder / "model-00001-of-00002.safetensors",
                    {tensor("a", 1)});
  write_safetensors(folder / "model-00002-of-00002.safetensors",
                    {tensor("b", 2)});
  using Values = std::map<std::string, double>;
  EXPECT_EQ(values(folder.path()), (Values{{"a", 1}, {"b", 2}}));
  write_json(folder / "model.safetensors.index.json",
             {{"weight_map", {{"a", "model-00001-of-00002.safetensors"}}}});
  EXPECT_EQ(values(folder.path()), (Values{{"a", 1}}));
  write_safetensors(folder / "model.safetensors", {tensor("a", 3)});
  EXPECT_EQ(values(folder.path()), (Values{{"a", 3}}));
}

TEST(WeightFiles, AShardThatIsMissingIsNamed) {
  const TestFolder folder;
  write_safetensors(folder / "model-00001-of-00003.safetensors",
                    {tensor("a", 1)});
  write_safetensors(folder / "model-00003-of-00003.safetensors",
                    {tensor("b", 2)});
  EXPECT_THAT(refusal(folder.path()),
              HasSubstr("'model-00002-of-00003.safetensors'"));
}

// In a cache the remedy names what to fetch.
TEST(WeightFiles, ALinkThatLeadsNowhereIsNamed) {
  const TestFolder folder;
  const fs::path snapshot = folder / "models--acme--tiny" / "snapshots" / "0";
  fs::create_directories(snapshot);
  write_json(snapshot / "config.json", Json::object());
  fs::create_symlink("../../blobs/77", snapshot / "model.safetensors");
  EXPECT_THAT(user_error_of([&] { ModelFile file(snapshot); }),
              AllOf(HasSubstr("'model.safetensors' is a link to "
                              "../../blobs/77, which is not there"),
                    HasSubstr("`hf download acme/tiny`")));
}

TEST(WeightFiles, WhatIsThereInsteadIsSaid) {
  const TestFolder folder;
  EXPECT_THAT(refusal(folder.path()), testing::EndsWith("in the folder"));
  test::write_raw(folder / "weights.bin", "");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("it holds 'weights.bin'"));
  test::write_raw(folder / "q4.gguf", "GGUF");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("'q4.gguf' of llama.cpp"));
  test::write_raw(folder / "adapter_config.json",
                  R"({"base_model_name_or_path": "acme/base"})");
  EXPECT_THAT(refusal(folder.path()),
              AllOf(HasSubstr("an adapter of 'acme/base'"),
                    HasSubstr("merge_and_unload()")));
  test::write_raw(folder / "adapter_config.json", "[]");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("an adapter of another"));
}

TEST(WeightFiles, APointerOfGitLfsIsNoFile) {
  const TestFolder folder;
  test::write_raw(folder / "model.safetensors",
                  "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("`git lfs pull`"));
}

// A model's error after its tensors were changed.
template <typename Change>
std::string error_after(const tiny::Flavour& flavour, const Change& change) {
  const TestFolder folder;
  const Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
  std::vector<NamedTensor> tensors = named_weights(model);
  change(tensors);
  fs::create_directories(folder / "a");
  write_json(folder / "a" / "config.json", to_json(model.config()));
  write_safetensors(folder / "a" / "model.safetensors", tensors);
  return user_error_of([&] {
    const ModelFile file(folder / "a");
    require_sound(file);
    require_finite(file, "testing");
  });
}

using Tensors = std::vector<NamedTensor>;

TEST(BesideTheTable, OneOfATiedPairIsEnough) {
  EXPECT_EQ(error_after({.tied = true},
                        [](Tensors& t) { t[0].name = "lm_head.weight"; }),
            "");
  EXPECT_THAT(error_after({.tied = false}, [](Tensors& t) { t.pop_back(); }),
              AllOf(HasSubstr("'lm_head.weight' is missing"),
                    HasSubstr("'tie_word_embeddings' to true")));
}

TEST(BesideTheTable, ATiedHeadMayDifferByTheNarrowerRounding) {
  for (const bool narrow_head : {false, true}) {
    const auto twice = [&](double factor) {
      return [=](Tensors& t) {
        const at::Tensor wide = t[0].tensor.clone();
        const at::Tensor narrow = wide.to(at::kBFloat16);
        at::Tensor head = narrow_head ? narrow.clone() : wide.clone();
        head[7][3].mul_(factor);
        t.push_back({"lm_head.weight", head});
        if (!narrow_head) t[0].tensor = narrow;
      };
    };
    EXPECT_EQ(error_after({.tied = true}, twice(1)), "");
    // Two steps of bf16.
    EXPECT_THAT(error_after({.tied = true}, twice(1 + 0x1p-6)),
                AllOf(HasSubstr("first in row 7"),
                      HasSubstr("'tie_word_embeddings' to false")));
  }
}

TEST(BesideTheTable, BiasesOfZerosChangeNothing) {
  const auto bias = [](const char* name, double value) {
    return [=](Tensors& t) { t.push_back(tensor(name, value)); };
  };
  EXPECT_EQ(error_after({}, bias("lm_head.bias", 0)), "");
  EXPECT_EQ(error_after({}, bias("model.layers.0.self_attn.o_proj.bias", 0)),
            "");
  EXPECT_THAT(error_after({}, bias("lm_head.bias", 1)),
              HasSubstr("not part of the model"));
  EXPECT_THAT(error_after({}, bias("elsewhere.bias", 0)),
              HasSubstr("not part of the model"));
}

TEST(BesideTheTable, ScalesAreOfQuantisedWeights) {
  for (const char* name : {"model.layers.0.mlp.up_proj.qweight",
                           "model.layers.0.mlp.up_proj.weight_scale",
                           "model.layers.0.mlp.up_proj.weight.absmax"}) {
    EXPECT_THAT(
        error_after({}, [&](Tensors& t) { t.push_back(tensor(name, 1)); }),
        AllOf(HasSubstr("the weights are quantised"), HasSubstr(name)));
  }
}

TEST(BesideTheTable, TheFirstRowThatIsNotFiniteIsNamed) {
  EXPECT_THAT(error_after({},
                          [](Tensors& t) {
                            t[0].tensor = t[0].tensor.clone();
                            t[0].tensor[5][2] = NAN;
                            t[0].tensor[9][0] = INFINITY;
                          }),
              HasSubstr("'model.embed_tokens.weight' holds NaN in row 5"));
  EXPECT_THAT(error_after({},
                          [](Tensors& t) {
                            t[1].tensor = t[1].tensor.clone();
                            t[1].tensor[3] = -INFINITY;
                          }),
              HasSubstr("input_layernorm.weight' holds an infinity in row 3"));
  EXPECT_EQ(
      error_after({}, [](Tensors& t) { t[0].tensor = t[0].tensor * 1e30; }),
      "");
}

}  // namespace
}  // namespace annuli

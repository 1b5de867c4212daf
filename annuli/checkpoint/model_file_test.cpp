#include "annuli/checkpoint/model_file.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <map>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/test_files.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using test::identical;
using test::TestFolder;
using test::user_error_of;
using testing::HasSubstr;

Transformer tiny_model(at::ScalarType dtype = at::kFloat) {
  return tiny::model(tiny::config({.mixture = true, .tied = true}), dtype);
}

Lineage lineage_of(const Transformer& model) {
  return {{.op = "initialize", .child = content_hash(model)}};
}

void expect_same(const Transformer& a, const Transformer& b) {
  EXPECT_EQ(a.config(), b.config());
  ASSERT_EQ(a.table().size(), b.table().size());
  for (size_t row = 0; row < a.table().size(); ++row) {
    EXPECT_TRUE(identical(a.weight(row), b.weight(row))) << row;
  }
}

TEST(ModelFile, EveryFlavourRoundTripsInBothForms) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    SCOPED_TRACE(tiny::name_of(flavour));
    const TestFolder folder;
    const Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
    save_pt(model, folder / "a.pt");
    save_folder(model, folder / "a");
    expect_same(load_model(folder / "a.pt"), model);
    expect_same(load_model(folder / "a"), model);
    expect_same(load_model(folder / "a", {.mapped = true}), model);
  }
}

// In both forms, and whatever the rest is loaded in.
TEST(ModelFile, SelectionBiasesAreWideBesideBf16) {
  const TestFolder folder;
  const ModelConfig config =
      tiny::config({.mixture = true, .gated = true, .selection_bias = true});
  const Transformer model = tiny::model(config, at::kBFloat16);
  save_pt(model, folder / "a.pt");
  save_folder(model, folder / "a");
  for (const fs::path& path : {folder / "a.pt", folder / "a"}) {
    const ModelFile file(path);
    expect_same(load_model(file, {.dtype = at::kBFloat16}), model);
    const std::string name =
        model.table()[model.index().row(Part::kSelectionBias, 1)].name;
    EXPECT_EQ(file.dtype_of(name), at::kFloat);
    EXPECT_EQ(load_model(file).dtype(), at::kFloat);
  }
}

TEST(ModelFile, Fp64StaysFp64) {
  const TestFolder folder;
  const Transformer model = tiny_model(at::kDouble);
  save_pt(model, folder / "a.pt");
  expect_same(load_model(folder / "a.pt"), model);
  const Transformer narrowed =
      load_model(folder / "a.pt", {.dtype = at::kFloat});
  EXPECT_EQ(narrowed.dtype(), at::kFloat);
  EXPECT_TRUE(identical(narrowed.weight(0), model.weight(0).to(at::kFloat)));
}

TEST(ModelFile, NarrowTypesAreWidened) {
  const TestFolder folder;
  const Transformer model = tiny_model();
  std::vector<NamedTensor> tensors = named_weights(model);
  for (NamedTensor& named : tensors) {
    named.tensor = named.tensor.to(at::kBFloat16);
  }
  write_pt(folder / "a.pt", tensors, to_json(model.config()));
  const Transformer loaded = load_model(folder / "a.pt", {.mapped = true});
  EXPECT_EQ(loaded.dtype(), at::kFloat);
  EXPECT_TRUE(identical(loaded.weight(3), tensors[3].tensor.to(at::kFloat)));
}

TEST(ModelFile, TheHashDependsOnTheModelNotOnTheFile) {
  const TestFolder folder;
  const Transformer model = tiny_model();
  save_pt(model, folder / "a.pt");
  save_folder(model, folder / "a");
  EXPECT_EQ(content_hash(load_model(folder / "a.pt")), content_hash(model));
  EXPECT_EQ(content_hash(load_model(folder / "a", {.mapped = true})),
            content_hash(model));
  EXPECT_NE(content_hash(tiny::model(model.config(), at::kFloat, 2)),
            content_hash(model));
}

TEST(ModelFile, LineageAndExtraTravelAlong) {
  const TestFolder folder;
  const Transformer model = tiny_model();
  save_pt(model, folder / "a.pt", lineage_of(model), {{"phase", "dense"}});
  save_folder(model, folder / "a", lineage_of(model));
  EXPECT_EQ(ModelFile(folder / "a.pt").lineage(), lineage_of(model));
  EXPECT_EQ(ModelFile(folder / "a").lineage(), lineage_of(model));
  EXPECT_EQ(ModelFile(folder / "a.pt").extra().at("phase"), "dense");
  save_folder(model, folder / "a");
  EXPECT_FALSE(ModelFile(folder / "a").lineage());
}

TEST(ModelFile, InspectShowsWhatIsThere) {
  const TestFolder folder;
  const Transformer model = tiny_model();
  save_pt(model, folder / "a.pt", lineage_of(model));
  const Json shown = inspect_model(folder / "a.pt");
  const ParameterCount count = count_parameters(model.config());
  EXPECT_EQ(shown["parameters"]["total"], count.total);
  EXPECT_EQ(shown["parameters"]["active"], count.active);
  EXPECT_EQ(shown["bytes"], count.total * 4);
  EXPECT_EQ(shown["tensors"].size(), model.table().size());
  EXPECT_EQ(shown["tensors"][0]["name"], "model.embed_tokens.weight");
  EXPECT_EQ(shown["tensors"][0]["dtype"], "F32");
  EXPECT_TRUE(shown["faults"].empty());
  EXPECT_EQ(shown["lineage"]["records"].size(), 1);
}

// The error of loading the model after `spoil` has changed its tensors.
template <typename Spoil>
std::string error_after(const Spoil& spoil) {
  const TestFolder folder;
  const Transformer model = tiny_model();
  std::vector<NamedTensor> tensors = named_weights(model);
  spoil(tensors);
  write_pt(folder / "a.pt", tensors, to_json(model.config()));
  return user_error_of([&] { load_model(folder / "a.pt"); });
}

TEST(ModelFile, TensorAccounting) {
  using Tensors = std::vector<NamedTensor>;
  EXPECT_EQ(error_after([](Tensors&) {}), "");
  EXPECT_THAT(
      error_after([](Tensors& tensors) { tensors.erase(tensors.begin() + 1); }),
      HasSubstr("'model.layers.0.input_layernorm.weight' is missing"));
  EXPECT_THAT(error_after([](Tensors& tensors) {
                tensors.push_back({"more", at::full({2}, 1, at::kFloat)});
              }),
              HasSubstr("'more' [2] is not part of the model"));
  EXPECT_THAT(error_after([](Tensors& tensors) {
                tensors[1].tensor = at::full({5}, 1, at::kFloat);
              }),
              HasSubstr("input_layernorm.weight' is [5], expected [24]"));
  EXPECT_THAT(
      error_after([](Tensors& tensors) { tensors[1].name = "renamed"; }),
      HasSubstr("(and 1 more faults)"));
  EXPECT_THAT(error_after([](Tensors& tensors) {
                tensors[1].tensor = tensors[1].tensor.to(at::kLong);
              }),
              HasSubstr("is I64, expected a floating type"));
}

TEST(ModelFile, ATiedHeadMayBearItsSecondName) {
  using Tensors = std::vector<NamedTensor>;
  EXPECT_EQ(error_after([](Tensors& tensors) {
              tensors.push_back({"lm_head.weight", tensors[0].tensor});
            }),
            "");
  EXPECT_EQ(error_after([](Tensors& tensors) {
              tensors.push_back({"lm_head.weight", tensors[0].tensor.clone()});
            }),
            "");
  EXPECT_THAT(error_after([](Tensors& tensors) {
                tensors.push_back({"lm_head.weight", tensors[0].tensor * 2});
              }),
              HasSubstr("'lm_head.weight'"));
}

TEST(ModelFile, RotaryFrequenciesOfOldFilesAreNoFault) {
  EXPECT_EQ(error_after([](std::vector<NamedTensor>& tensors) {
              tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq",
                                 at::full({3}, 1, at::kFloat)});
            }),
            "");
}

// Every weight stays as it is stored and is widened when it is used: the same
// numbers as widening all of them first.
TEST(ModelFile, StoredWeightsComputeWhatWidenedOnesDo) {
  for (const at::ScalarType stored : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (const at::ScalarType arithmetic : {at::kFloat, at::kDouble}) {
      const TestFolder folder;
      const Transformer model = tiny_model();
      std::vector<NamedTensor> tensors = named_weights(model);
      for (NamedTensor& named : tensors) {
        named.tensor = named.tensor.to(stored);
      }
      write_pt(folder / "a.pt", tensors, to_json(model.config()));
      const Transformer mapped =
          load_model(folder / "a.pt", {.dtype = arithmetic, .as_stored = true});
      const Transformer widened =
          load_model(folder / "a.pt", {.dtype = arithmetic});
      EXPECT_EQ(mapped.weight(0).scalar_type(), stored);
      const at::Tensor tokens = tiny::tokens(2, 7, model.config().vocab_size);
      EXPECT_TRUE(identical(mapped.logits(tokens), widened.logits(tokens)));
      const ForwardOptions in_double{.double_arithmetic = true};
      EXPECT_TRUE(identical(mapped.logits(tokens, in_double),
                            widened.logits(tokens, in_double)));
      EXPECT_EQ(mapped.loss(tokens, tokens).total.item<double>(),
                widened.loss(tokens, tokens).total.item<double>());
    }
  }
}

TEST(ModelFile, StoredWeightsAreNotTrained) {
  const TestFolder folder;
  save_pt(tiny_model(), folder / "a.pt");
  Transformer mapped =
      load_model(folder / "a.pt", {.dtype = at::kDouble, .as_stored = true});
  EXPECT_THAT([&] { GradientScope scope(mapped); },
              testing::Throws<CheckFailure>());
}

// Splits a saved folder's tensors into two shards and an index.
void split_into_shards(const fs::path& folder) {
  std::map<std::string, std::vector<NamedTensor>> shards;
  Json index;
  {
    const SafetensorsFile whole(folder / "model.safetensors");
    for (const TensorEntry& entry : whole.entries()) {
      const std::string shard = shards["1.safetensors"].size() < 5
                                    ? "1.safetensors"
                                    : "2.safetensors";
      shards[shard].push_back({entry.name, whole.copy(entry.name)});
      index["weight_map"][entry.name] = shard;
    }
  }
  fs::remove(folder / "model.safetensors");
  for (const auto& [name, tensors] : shards) {
    write_safetensors(folder / name, tensors);
  }
  write_json(folder / "model.safetensors.index.json", index);
}

TEST(ModelFile, ReadsShards) {
  const TestFolder folder;
  const Transformer model = tiny_model();
  save_folder(model, folder / "a");
  split_into_shards(folder / "a");
  expect_same(load_model(folder / "a"), model);

  const fs::path index = folder / "a" / "model.safetensors.index.json";
  const Json whole = read_json(index);
  Json spoiled = whole;
  spoiled["weight_map"]["model.norm.weight"] = "../1.safetensors";
  write_json(index, spoiled);
  EXPECT_THAT(user_error_of([&] { load_model(folder / "a"); }),
              HasSubstr("expected a file name"));
  write_json(index, Json::object());
  EXPECT_THAT(user_error_of([&] { load_model(folder / "a"); }),
              HasSubstr("weight_map"));
  write_json(index, whole);
  spoiled = whole;
  spoiled["weight_map"]["model.norm.weight"] = "1.safetensors";
  write_json(index, spoiled);
  EXPECT_THAT(user_error_of([&] { load_model(folder / "a"); }),
              HasSubstr("'model.norm.weight' is in '1.safetensors', which does "
                        "not hold it"));
  spoiled["weight_map"]["model.norm.weight"] = "3.safetensors";
  write_json(index, spoiled);
  EXPECT_THAT(user_error_of([&] { load_model(folder / "a"); }),
              HasSubstr("the shard '3.safetensors'"));
  write_json(index, whole);
  fs::copy(folder / "a" / "1.safetensors", folder / "a" / "2.safetensors",
           fs::copy_options::overwrite_existing);
  EXPECT_THAT(user_error_of([&] { load_model(folder / "a"); }),
              HasSubstr("in two shards"));
}

TEST(ModelFile, SaysWhatIsMissing) {
  const TestFolder folder;
  const auto error_of = [&](const std::string& name) {
    return user_error_of([&] { load_model(folder / name); });
  };
  EXPECT_THAT(error_of("nothing"), HasSubstr("no such file or folder"));
  fs::create_directories(folder / "a");
  EXPECT_THAT(error_of("a"), HasSubstr("no config.json"));
  write_json(folder / "a" / "config.json", {{"model_type", "llama"}});
  EXPECT_THAT(error_of("a"), HasSubstr("neither model.safetensors nor"));
  write_safetensors(folder / "a" / "model.safetensors", {});
  EXPECT_THAT(error_of("a"), HasSubstr("a llama: vocab_size 32000, hidden"));
  EXPECT_THAT(error_of("a"), HasSubstr((folder / "a").string()));
  test::write_raw(folder / "text.pt", "hello");
  EXPECT_THAT(error_of("text.pt"), HasSubstr("not a .pt file"));
}

}  // namespace
}  // namespace annuli

#include <ATen/ops/arange.h>

#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/checkpoint/zip_for_tests.h"
#include "annuli/core/error.h"
#include "annuli/tokenizer/gguf_tokenizer.h"
#include "tests/fuzz/target.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/tiny_model.h"

namespace annuli::fuzz {
namespace {

std::vector<NamedTensor> tensors() {
  return {{"model.norm.weight", at::arange(8, at::kFloat)},
          {"b", at::arange(6, at::kInt).view({2, 3})}};
}

std::string safetensors_bytes(Metadata metadata = {}) {
  return written("seed.safetensors", [&](const fs::path& path) {
    write_safetensors(path, tensors(), std::move(metadata));
  });
}

std::vector<std::string> safetensors_seeds() {
  return {safetensors_bytes(), safetensors_bytes({{"a", "b"}}),
          std::string("\2\0\0\0\0\0\0\0{}", 10)};
}

void read_safetensors(const std::string& bytes) {
  const SafetensorsFile file(as_file("input.safetensors", bytes));
  for (const TensorEntry& entry : file.entries()) file.copy(entry.name);
}

std::vector<std::string> pt_seeds() {
  return {written("seed.pt", [](const fs::path& path) {
    write_pt(path, tensors(), {{"model_type", "llama"}, {"x", {1, 2.5, true}}},
             {{"lineage", {{"records", Json::array()}}}});
  })};
}

void read_pt(const std::string& bytes) {
  const PtFile file(as_file("input.pt", bytes));
  file.check_data();
  for (const TensorEntry& entry : file.entries()) file.copy(entry.name);
}

// {"w": a tensor of two floats}, as torch.save writes it.
std::vector<std::string> state_dict_seeds() {
  using test::number;
  const auto text = [](const std::string& value) {
    return "X" + number(static_cast<uint32_t>(value.size())) + value;
  };
  const std::string storage = "(" + text("storage") + "ctorch\nFloatStorage\n" +
                              text("0") + text("cpu") + "K\2tQ";
  const std::string pickle =
      "\x80\x02"
      "ccollections\nOrderedDict\n)R(" +
      text("w") + "ctorch._utils\n_rebuild_tensor_v2\n(" + storage +
      std::string("K\0K\2\x85K\1\x85\x89", 9) +
      "ccollections\nOrderedDict\n)RtRu}" + text("_metadata") + "}sb.";
  return {test::make_zip({{"a/data.pkl", pickle},
                          {"a/byteorder", "little"},
                          {"a/data/0", number(1.0F) + number(2.0F)}})};
}

void read_state_dict(const std::string& bytes) {
  const StateDictFile file(as_file("pytorch_model.bin", bytes));
  file.check_data();
  for (const TensorEntry& entry : file.entries()) file.copy(entry.name);
}

// A whole model: what its config says, and whether the tensors are that.
void read_model(const std::string& bytes) {
  const ModelFile file(as_file("model.pt", bytes));
  file.faults();
}

const Json& tiny_config() {
  static const Json config = {{"model_type", "llama"},
                              {"architectures", {"LlamaForCausalLM"}},
                              {"vocab_size", 8},
                              {"hidden_size", 4},
                              {"intermediate_size", 8},
                              {"num_hidden_layers", 1},
                              {"num_attention_heads", 2},
                              {"num_key_value_heads", 1},
                              {"hidden_act", "silu"},
                              {"rms_norm_eps", 1e-5},
                              {"rope_theta", 10000.0},
                              {"max_position_embeddings", 16},
                              {"tie_word_embeddings", true}};
  return config;
}

std::vector<std::string> model_seeds() {
  return {written("seed.pt", [](const fs::path& path) {
    write_pt(path, tensors(), tiny_config());
  })};
}

// The index decides which files are opened.
std::vector<std::string> index_seeds() {
  const Json good = {
      {"metadata", {{"total_size", 56}}},
      {"weight_map",
       {{"model.norm.weight", "a.safetensors"}, {"b", "a.safetensors"}}}};
  Json outside = good;
  outside["weight_map"]["b"] = "../../etc/passwd";
  Json missing = good;
  missing["weight_map"]["b"] = "none.safetensors";
  return {good.dump(), outside.dump(), missing.dump(), "{}"};
}

void read_index(const std::string& bytes) {
  const fs::path folder = scratch() / "sharded";
  fs::create_directories(folder);
  static const bool made = [&] {
    write_safetensors(folder / "a.safetensors", tensors());
    write_json(folder / "config.json", tiny_config());
    return true;
  }();
  ANNULI_CHECK(made, "no files in {}", folder.string());
  as_file("sharded/model.safetensors.index.json", bytes);
  const ModelFile file(folder);
  file.faults();
}

std::vector<std::string> lineage_seeds() {
  const Lineage lineage = {{.op = "initialize", .seed = 1, .child = "aa"},
                           {.op = "widen",
                            .arguments = {{"factor", 2}},
                            .seed = 7,
                            .parent = "aa",
                            .child = "bb",
                            .replay = {{"dtype", "F32"}}}};
  return {to_json(lineage).dump(), to_json(Lineage()).dump()};
}

void take_lineage(const std::string& bytes) {
  read_lineage(as_file("lineage.json", bytes));
}

std::vector<std::string> state_seeds() {
  const fs::path folder = scratch() / "seed-state";
  save_training_state(folder, {.progress = {{"step", 3}, {"lr", 0.1}},
                               .weights = tensors(),
                               .optimizer = {}});
  return {read_file(load_training_state(folder)->folder / "state.json")};
}

void read_state(const std::string& bytes) {
  const fs::path folder = scratch() / "state";
  fs::create_directories(folder);
  static const bool made = [&] {
    write_safetensors(folder / "model.safetensors", tensors());
    write_safetensors(folder / "optimizer.safetensors", {});
    return true;
  }();
  ANNULI_CHECK(made, "no files in {}", folder.string());
  as_file("state/state.json", bytes);
  load_progress(folder);
  load_training_state(folder);
}

std::vector<std::string> optimizer_seeds() {
  const fs::path folder = scratch() / "seed-rows";
  fs::create_directories(folder);
  write_optimizer_rows(
      folder, {{"b", {.step = 3, .lr_multiplier = 0.5, .row_copies = 2}}},
      "muon");
  return {read_file(folder / kOptimizerRows)};
}

void read_optimizer(const std::string& bytes) {
  const fs::path folder = scratch() / "rows";
  fs::create_directories(folder);
  static const bool made = [&] {
    write_safetensors(folder / kOptimizerTensors,
                      {{"m.b", at::arange(6, at::kFloat).view({2, 3})}});
    return true;
  }();
  ANNULI_CHECK(made, "no files in {}", folder.string());
  as_file("rows/optimizer.json", bytes);
  OptimizerFile::open(folder);
}

// With keys of ours, and as others write it; in blocks; with scaled positions.
std::vector<std::string> gguf_seeds() {
  ModelConfig config = tiny::config({.gated = true});
  config.num_hidden_layers = 1;
  config.vocab_size = 8;
  config.hidden_size = 32;
  config.intermediate_size = 32;
  config.head_dim = 8;
  const Transformer model = tiny::model(config, at::kFloat);
  const std::string own = test::gguf_bytes(model, gguf::Type::kF32);
  config.rope_scaling = {.type = RopeScaling::Type::kYarn, .factor = 2};
  const std::string yarn =
      test::gguf_bytes(tiny::model(config, at::kFloat), gguf::Type::kF32);
  return {own, test::foreign(own), test::gguf_bytes(model, gguf::Type::kQ8_0),
          test::foreign(yarn)};
}

void read_gguf(const std::string& bytes) {
  const ModelFile file(as_file("input.gguf", bytes));
  file.faults();
  for (const TensorEntry& entry : file.entries()) file.copy(entry.name);
}

void read_gguf_vocabulary(const std::string& bytes) {
  const fs::path path = as_file("vocabulary.gguf", bytes);
  read_gguf_tokenizer(path);
  gguf_tokenizer_files(path);
  read_gguf_special_tokens(path);
}

}  // namespace

std::vector<Target> checkpoint_targets() {
  return {{"safetensors", safetensors_seeds, read_safetensors},
          {"pt", pt_seeds, read_pt},
          {"state_dict", state_dict_seeds, read_state_dict},
          {"model", model_seeds, read_model},
          {"index", index_seeds, read_index},
          {"lineage", lineage_seeds, take_lineage},
          {"state", state_seeds, read_state},
          {"optimizer", optimizer_seeds, read_optimizer},
          {"gguf", gguf_seeds, read_gguf},
          {"gguf_vocabulary", gguf_seeds, read_gguf_vocabulary}};
}

}  // namespace annuli::fuzz

#include "annuli/checkpoint/foreign_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <system_error>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

constexpr const char* kAdapter = "adapter_config.json";

bool has(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  return fs::exists(folder / name, ignored);
}

// The first name, in their order, that begins and ends so.
std::optional<std::string> first_like(const fs::path& folder,
                                      std::string_view begin,
                                      std::string_view end) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with(begin) && name.ends_with(end)) names.push_back(name);
  }
  if (names.empty()) return std::nullopt;
  return *std::ranges::min_element(names);
}

std::string base_of(const fs::path& folder) {
  try {
    const Json config = read_json(folder / kAdapter);
    const Json base = config.is_object()
                          ? config.value("base_model_name_or_path", Json())
                          : Json();
    return base.is_string() ? base.get<std::string>() : "";
  } catch (const UserError&) {
    return "";
  }
}

std::string adapter(const fs::path& folder) {
  const std::string base = base_of(folder);
  return fmt::format(
      "it is an adapter of {}, not a model; merge it first, in Python: "
      "PeftModel.from_pretrained(base, {}).merge_and_unload()"
      ".save_pretrained(OUT)",
      base.empty() ? "another model" : quote(base), quote(folder.string()));
}

// What is told by one file's name.
struct Sign {
  const char* file;
  const char* meaning;
};

constexpr Sign kSigns[] = {
    {"model_index.json", "it is a pipeline of diffusers, not a language model"},
    {"zero_to_fp32.py",
     "it holds DeepSpeed's shards; join them first with `python3 "
     "zero_to_fp32.py . OUT --safe_serialization`"},
    {"latest",
     "it holds DeepSpeed's shards; join them first with its zero_to_fp32.py"},
    {"pytorch_model_fsdp_0",
     "it holds FSDP's shards; join them first with `accelerate merge-weights`"},
    {"params.json",
     "it is in the format of the model's maker (params.json, consolidated "
     "weights), not of transformers; give the repository for transformers, or "
     "convert it with transformers' convert_*_weights_to_hf.py"},
    {"tf_model.h5",
     "its weights are TensorFlow's; load it with transformers 4 "
     "(from_tf=True) and save it"},
    {"flax_model.msgpack",
     "its weights are Flax's; load it with transformers 4 (from_flax=True) "
     "and save it"},
    {"training_history.jsonl",
     "it is the folder of a run; give one of the models in its checkpoints/"},
    {"checkpoints",
     "it holds a folder checkpoints/; give one of the models in it"},
    {"modules.json",
     "it is a pipeline of sentence-transformers; give the folder in it that "
     "has config.json and the weights"}};

std::string by_signs(const fs::path& folder) {
  for (const Sign& sign : kSigns) {
    if (has(folder, sign.file)) return sign.meaning;
  }
  return "";
}

}  // namespace

bool holds_adapter(const fs::path& folder) {
  return has(folder, "adapter_model.safetensors") ||
         has(folder, "adapter_model.bin");
}

std::string what_it_is(const fs::path& folder) {
  if (has(folder, kAdapter) || holds_adapter(folder)) return adapter(folder);
  if (const auto name = first_like(folder, "", ".gguf")) {
    return fmt::format("it holds {} of llama.cpp; give that file itself",
                       quote(*name));
  }
  if (const std::string meaning = by_signs(folder); !meaning.empty()) {
    return meaning;
  }
  if (const auto name = first_like(folder, "checkpoint-", "")) {
    return fmt::format(
        "it holds a Trainer's checkpoints; give one of them, "
        "as {}",
        quote((folder / *name).string()));
  }
  if (const auto name = first_like(folder, "", ".safetensors")) {
    return fmt::format(
        "it holds {}; if that is all of the model, rename it to "
        "model.safetensors",
        quote(*name));
  }
  for (const char* end : {".bin", ".pth", ".pt"}) {
    if (const auto name = first_like(folder, "", end)) {
      return fmt::format(
          "it holds {}; if that is the model's state dict, rename it to "
          "pytorch_model.bin",
          quote(*name));
    }
  }
  return "";
}

void refuse_foreign_file(const fs::path& file) {
  if (file.extension() != ".safetensors") return;
  user_error(
      "opening the model {}: found weights without a config; put them into a "
      "folder as model.safetensors, beside their config.json, and give the "
      "folder",
      file.string());
}

}  // namespace annuli

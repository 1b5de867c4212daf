#include "annuli/checkpoint/companions.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr uintmax_t kLargest = uintmax_t{64} << 20;  // of one file

constexpr auto kWrittenAnew =
    std::to_array<std::string_view>({"config.json", "lineage.json", "README.md",
                                     "optimizer.json", "state.json"});

constexpr auto kWeights = std::to_array<std::string_view>(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack",
     ".onnx", ".index.json"});

constexpr auto kTokenizer = std::to_array<std::string_view>(
    {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
     "vocab.json", "merges.txt", "added_tokens.json"});

bool is_companion(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto ends = [&](std::string_view end) { return name.ends_with(end); };
  std::error_code error;
  return !name.starts_with('.') &&
         std::ranges::find(kWrittenAnew, name) == kWrittenAnew.end() &&
         std::ranges::none_of(kWeights, ends) &&
         fs::is_regular_file(path, error) &&
         fs::file_size(path, error) <= kLargest;
}

std::vector<fs::path> of_tokenizer(const Json& extra) {
  const auto tokenizer = extra.find("tokenizer");
  if (tokenizer == extra.end() || !tokenizer->is_object() ||
      !tokenizer->contains("name") || !tokenizer->at("name").is_string()) {
    return {};
  }
  const fs::path named = tokenizer->at("name").get<std::string>();
  std::error_code error;
  if (named.filename() == "tokenizer.json" && fs::exists(named, error)) {
    return {named};
  }
  std::vector<fs::path> files;
  for (const std::string_view name : kTokenizer) {
    if (fs::exists(named / name, error)) files.push_back(named / name);
  }
  return files;
}

}  // namespace

std::vector<fs::path> companions(const ModelFile& model) {
  if (model.format() != "folder") return of_tokenizer(model.extra());
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(model.path(), error)) {
    if (is_companion(item.path())) files.push_back(item.path());
  }
  std::ranges::sort(files);
  return files;
}

int64_t size_of(const std::vector<fs::path>& files) {
  int64_t bytes = 0;
  for (const fs::path& file : files) {
    bytes += static_cast<int64_t>(fs::file_size(file));
  }
  return bytes;
}

void copy_companions(const std::vector<fs::path>& files,
                     const fs::path& folder) {
  for (const fs::path& file : files) {
    write_file_atomically(folder / file.filename(), read_file(file));
  }
}

}  // namespace annuli

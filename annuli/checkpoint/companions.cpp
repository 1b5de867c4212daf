#include "annuli/checkpoint/companions.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr uintmax_t kLargest = uintmax_t{64} << 20;  // of one file

// Of tokenizers, whatever their kind.
constexpr auto kTokenizer = std::to_array<std::string_view>(
    {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
     "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
     "sentencepiece.bpe.model", "spiece.model", "tekken.json",
     "chat_template.jinja", "chat_template.json"});

constexpr auto kOthers =
    std::to_array<std::string_view>({"generation_config.json"});

// The terms under which the parent may be used go with what was made of it.
constexpr auto kTerms = std::to_array<std::string_view>(
    {"LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"});

bool is_of_tokenizer(const std::string& name) {
  return std::ranges::find(kTokenizer, name) != kTokenizer.end() ||
         name.starts_with("tokenizer.model.v") || name.ends_with(".tiktoken") ||
         (name.starts_with("tekken_") && name.ends_with(".json"));
}

bool is_companion(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto begins = [&](std::string_view begin) {
    return name.starts_with(begin);
  };
  const bool belongs = is_of_tokenizer(name) ||
                       std::ranges::find(kOthers, name) != kOthers.end() ||
                       std::ranges::any_of(kTerms, begins);
  std::error_code error;
  return belongs && fs::is_regular_file(path, error) &&
         fs::file_size(path, error) <= kLargest;
}

std::vector<fs::path> in_folder(const fs::path& folder,
                                bool (*wanted)(const fs::path&)) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (wanted(item.path())) files.push_back(item.path());
  }
  std::ranges::sort(files);
  return files;
}

std::vector<fs::path> of_tokenizer(const Json& extra) {
  const auto tokenizer = extra.find("tokenizer");
  if (tokenizer == extra.end() || !tokenizer->is_object() ||
      !tokenizer->contains("name") || !tokenizer->at("name").is_string()) {
    return {};
  }
  const fs::path named = tokenizer->at("name").get<std::string>();
  std::error_code error;
  if (fs::is_regular_file(named, error)) return {named};
  return in_folder(named, [](const fs::path& path) {
    return is_of_tokenizer(path.filename().string());
  });
}

}  // namespace

std::vector<fs::path> companions(const ModelFile& model) {
  if (model.format() != "folder") return of_tokenizer(model.extra());
  return in_folder(model.path(), is_companion);
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

#include "annuli/checkpoint/companions.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/tokenizer/gguf_tokenizer.h"

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

Companion copied(const fs::path& file) {
  return {.name = file.filename().string(), .source = file};
}

std::vector<Companion> in_folder(const fs::path& folder,
                                 bool (*wanted)(const fs::path&)) {
  std::vector<Companion> files;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (wanted(item.path())) files.push_back(copied(item.path()));
  }
  std::ranges::sort(files, {}, &Companion::source);
  return files;
}

std::vector<Companion> of_tokenizer(const Json& extra) {
  const auto tokenizer = extra.find("tokenizer");
  if (tokenizer == extra.end() || !tokenizer->is_object() ||
      !tokenizer->contains("name") || !tokenizer->at("name").is_string()) {
    return {};
  }
  const fs::path named = tokenizer->at("name").get<std::string>();
  std::error_code error;
  if (fs::is_regular_file(named, error)) return {copied(named)};
  return in_folder(named, [](const fs::path& path) {
    return is_of_tokenizer(path.filename().string());
  });
}

std::vector<Companion> made_of_gguf(const fs::path& path) try {
  std::vector<Companion> files;
  for (NamedText& file : gguf_tokenizer_files(path)) {
    files.push_back(
        {.name = std::move(file.name), .text = std::move(file.text)});
  }
  return files;
} catch (const UserError& error) {
  notice("{}; what is made of it has no tokenizer", error.what());
  return {};
}

}  // namespace

int64_t Companion::bytes() const {
  return source.empty() ? std::ssize(text)
                        : static_cast<int64_t>(fs::file_size(source));
}

std::vector<Companion> companions(const ModelFile& model) {
  if (model.format() == "gguf") return made_of_gguf(model.path());
  if (model.format() != "folder") return of_tokenizer(model.extra());
  return in_folder(model.path(), is_companion);
}

int64_t size_of(const std::vector<Companion>& files) {
  int64_t bytes = 0;
  for (const Companion& file : files) bytes += file.bytes();
  return bytes;
}

void copy_companions(const std::vector<Companion>& files,
                     const fs::path& folder) {
  for (const Companion& file : files) {
    write_file_atomically(folder / file.name, file.source.empty()
                                                  ? file.text
                                                  : read_file(file.source));
  }
}

}  // namespace annuli

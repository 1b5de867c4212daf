#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/hub_cache.h"
#include "annuli/core/json.h"
#include "annuli/core/notice.h"
#include "annuli/core/tokenizer_place.h"
#include "annuli/tokenizer/bytes_tokenizer.h"
#include "annuli/tokenizer/gguf_tokenizer.h"
#include "annuli/tokenizer/pipeline_tokenizer.h"
#include "annuli/tokenizer/sentencepiece_tokenizer.h"
#include "annuli/tokenizer/tekken_file.h"
#include "annuli/tokenizer/tiktoken_file.h"
#include "annuli/tokenizer/tokenizer_files.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kEnoughToKnow = 4096;

std::string start_of(const fs::path& path) {
  std::string bytes(kEnoughToKnow, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

// By what it holds where that is certain, else by its name.
std::unique_ptr<Tokenizer> load_file(const fs::path& path) {
  if (is_gguf_file(path)) return read_gguf_tokenizer(path);
  const std::string start = start_of(path);
  const std::string name = path.filename().string();
  const bool json = name.ends_with(".json") || start.starts_with('{');
  const auto names = [&](const char* key) {
    return start.find(key) != start.npos;
  };
  if (json && (names("\"default_num_special_tokens\"") ||
               (name.starts_with("tekken") && !names("\"added_tokens\"")))) {
    return std::make_unique<PipelineTokenizer>(read_tekken(path));
  }
  if (!json && (name.ends_with(".tiktoken") || looks_like_tiktoken(start))) {
    return std::make_unique<PipelineTokenizer>(read_tiktoken(path));
  }
  if (!json && (name.find(".model") != name.npos || start.starts_with('\n'))) {
    return std::make_unique<SentencePieceTokenizer>(
        read_sentencepiece(path), SentencePieceSettings::beside(path));
  }
  return std::make_unique<PipelineTokenizer>(read_tokenizer_json(path));
}

// The folder that a repository of Hugging Face's cache has, by its id or by its
// own folder there; else the path itself.
fs::path folder_meant(const std::string& given) {
  std::error_code ignored;
  const bool there = fs::exists(given, ignored);
  const auto name = there ? std::nullopt : hub_name(given);
  auto snapshot = there ? hub_snapshot(given)
                  : name
                      ? hub_snapshot(hub_repository(name->id), name->revision)
                      : std::nullopt;
  if (!snapshot) return given;
  notice("the tokenizer {} is read from {}", given, snapshot->string());
  return *std::move(snapshot);
}

[[noreturn]] void refuse_place(const std::string& given) {
  std::error_code ignored;
  const auto name = hub_name(given);
  const bool id = name && !fs::exists(given, ignored) &&
                  name->id.find('/') != std::string::npos;
  user_error("loading tokenizer {}: found no tokenizer there, expected {}{}",
             given, tokenizer_kinds(),
             id ? fmt::format("; if it is a model's id, fetch it with `hf "
                              "download {}`",
                              name->id)
                : "");
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path_or_name) {
  if (path_or_name == "bytes") return std::make_unique<BytesTokenizer>();
  std::error_code ignored;
  if (fs::is_regular_file(path_or_name, ignored)) {
    return load_file(path_or_name);
  }
  const fs::path path = folder_meant(path_or_name);
  const auto found = tokenizer_in(path);
  if (!found) refuse_place(path_or_name);
  if (*found != path) return load_file(*found);
  return std::make_unique<PipelineTokenizer>(read_vocab_and_merges(path));
}

}  // namespace annuli

#include "annuli/gguf/vocabulary.h"

#include <fmt/core.h>

#include <optional>
#include <string>

#include "annuli/core/gguf_file.h"
#include "annuli/core/json.h"
#include "annuli/gguf/token_list.h"
#include "annuli/tokenizer/gguf_tokenizer.h"
#include "annuli/tokenizer/sentencepiece_tokenizer.h"
#include "annuli/tokenizer/special_token_files.h"

namespace annuli::gguf {
namespace {

std::optional<int32_t> id_of(const Tokenizer& tokenizer,
                             const std::optional<std::string>& token) {
  return token ? tokenizer.token_to_id(*token) : std::nullopt;
}

std::optional<int32_t> first_of(const std::vector<int64_t>& ids,
                                const Tokenizer& tokenizer) {
  if (ids.empty()) return std::nullopt;
  const auto id = static_cast<int32_t>(ids.front());
  return tokenizer.has_token(id) ? std::optional(id) : std::nullopt;
}

// What the tokenizer's files say, then the model's, then its own text's ends.
void add_special(const Tokenizer& tokenizer, const SpecialTokenFiles& files,
                 Writer& writer) {
  std::optional<int32_t> begin = id_of(tokenizer, files.config_bos_token);
  if (!begin) begin = id_of(tokenizer, files.map_bos_token);
  if (!begin && !tokenizer.begin_ids().empty()) {
    begin = tokenizer.begin_ids().front();
  }
  std::optional<int32_t> end = id_of(tokenizer, files.config_eos_token);
  if (!end) end = id_of(tokenizer, files.map_eos_token);
  if (!end) end = first_of(files.generation_eos, tokenizer);
  if (!end) end = first_of(files.config_eos, tokenizer);
  if (!end) end = tokenizer.end_of_text();
  if (!begin) begin = end;  // llama.cpp would take another token for it
  const auto add = [&](const char* key, const std::optional<int32_t>& id) {
    if (id) writer.add(key, static_cast<uint32_t>(*id));
  };
  add("tokenizer.ggml.bos_token_id", begin);
  add("tokenizer.ggml.eos_token_id", end);
  writer.add("tokenizer.ggml.add_bos_token",
             files.add_bos_token || !tokenizer.begin_ids().empty());
  writer.add("tokenizer.ggml.add_eos_token", !tokenizer.end_ids().empty());
}

// A text, or a list of named ones, of which the default counts.
std::string template_in(const Json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return "";
  if (found->is_string()) return *found;
  if (!found->is_array()) return "";
  for (const Json& one : *found) {
    if (one.is_object() && one.value("name", "") == "default") {
      return one.value("template", "");
    }
  }
  return "";
}

std::string chat_template(const fs::path& folder) {
  if (is_gguf_file(folder)) return read_gguf_chat_template(folder);
  const fs::path own = folder / "chat_template.jinja";
  if (fs::is_regular_file(own)) return read_file(own);
  const fs::path config = folder / "tokenizer_config.json";
  if (!fs::is_regular_file(config)) return "";
  const Json json = read_json(config);
  return json.is_object() ? template_in(json) : "";
}

}  // namespace

void add_vocabulary(const Tokenizer& tokenizer, int64_t rows,
                    const fs::path& model_folder, Writer& writer) {
  TokenList list = token_list(tokenizer);
  for (int64_t id = std::ssize(list.tokens); id < rows; ++id) {
    list.tokens.push_back("");
    list.types.push_back(static_cast<int32_t>(TokenType::kUnused));
  }
  for (size_t id = 0; id < list.tokens.size(); ++id) {
    if (list.types[id] != static_cast<int32_t>(TokenType::kUnused)) continue;
    if (list.tokens[id].empty()) list.tokens[id] = fmt::format("[PAD{}]", id);
  }
  writer.add("tokenizer.ggml.model", list.model);
  writer.add("tokenizer.ggml.pre", list.pre);
  writer.add("tokenizer.ggml.tokens", list.tokens);
  writer.add("tokenizer.ggml.token_type", list.types);
  if (list.model == "llama") {
    list.scores.resize(list.tokens.size());
    writer.add("tokenizer.ggml.scores", list.scores);
    writer.add("tokenizer.ggml.add_space_prefix", list.add_space_prefix);
  } else {
    writer.add("tokenizer.ggml.merges", list.merges);
  }
  // What SentencePiece became in a tokenizer.json comes back as SentencePiece.
  const bool same_kind =
      list.model != "llama" ||
      dynamic_cast<const SentencePieceTokenizer*>(&tokenizer) != nullptr;
  if (same_kind) writer.add(kGgufTokenizerHash, tokenizer.hash());
  const fs::path beside = folder_of(tokenizer);
  add_special(tokenizer,
              read_special_token_files(
                  beside, model_folder.empty() ? beside : model_folder),
              writer);
  std::string chat =
      chat_template(model_folder.empty() ? beside : model_folder);
  if (chat.empty()) chat = chat_template(beside);
  if (!chat.empty()) writer.add("tokenizer.chat_template", chat);
}

}  // namespace annuli::gguf

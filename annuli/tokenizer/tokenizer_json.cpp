#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "annuli/core/json.h"
#include "annuli/core/notice.h"
#include "annuli/core/quote.h"
#include "annuli/tokenizer/added_token_files.h"
#include "annuli/tokenizer/tokenizer_files.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

// transformers adds them, each with the next free id. What was trained with
// such ids is rare, and to give a model ids that it may not have is worse.
void note_tokens_beside(const fs::path& path,
                        const TokenizerDefinition& definition) {
  const fs::path beside = path.parent_path() / "tokenizer_config.json";
  std::error_code ignored;
  if (path.filename() != "tokenizer.json" ||
      !fs::is_regular_file(beside, ignored)) {
    return;
  }
  const Json config = read_json(beside);
  const auto tokens = config.find("added_tokens_decoder");
  if (tokens == config.end() || !tokens->is_object()) return;
  std::set<std::string_view> known;
  for (const auto& [spelled, id] : definition.vocabulary) known.insert(spelled);
  for (const AddedToken& token : definition.added_tokens) {
    known.insert(token.content);
  }
  std::vector<std::string> missing;
  for (const auto& [id, token] : tokens->items()) {
    if (!token.is_object() || !token.contains("content")) continue;
    const Json& content = token["content"];
    if (!content.is_string()) continue;
    if (known.contains(content.get_ref<const std::string&>())) continue;
    missing.push_back(content);
  }
  if (missing.empty()) return;
  notice(
      "{}: {} tokens that tokenizer_config.json adds are not in it ('{}'{}) "
      "and "
      "are not read; transformers adds them, and its save_pretrained writes "
      "them into tokenizer.json",
      path.string(), missing.size(), one_line(missing.front()),
      missing.size() > 1 ? ", ..." : "");
}

}  // namespace

void read_added_tokens(const FieldReader& fields, const Json& json,
                       TokenizerDefinition& definition) {
  if (json.is_null()) return;
  if (!json.is_array()) fields.refuse("added_tokens " + json.dump(), "a list");
  for (const Json& token : json) {
    const Json& id =
        token.is_object() ? FieldReader::field(token, "id") : token;
    definition.added_tokens.push_back(added_token_of(fields, token, id));
  }
}

TokenizerDefinition tokenizer_from_json(const Json& json,
                                        const std::string& source) {
  const FieldReader fields(source);
  if (!json.is_object()) fields.refuse("the file", "an object");
  TokenizerDefinition definition;
  definition.source = fields.where();
  const auto part = [&](const char* name) -> const Json& {
    return FieldReader::field(json, name);
  };
  read_normalizer(fields, part("normalizer"), definition.normalizer);
  read_pre_tokenizer(fields, part("pre_tokenizer"), definition.pre_tokenizer);
  read_model(fields, part("model"), definition);
  read_added_tokens(fields, part("added_tokens"), definition);
  read_decoder(fields, part("decoder"), definition);
  read_post_processor(fields, part("post_processor"), definition);
  return definition;
}

TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path) {
  TokenizerDefinition definition =
      tokenizer_from_json(read_json(path), path.string());
  note_tokens_beside(path, definition);
  return definition;
}

}  // namespace annuli

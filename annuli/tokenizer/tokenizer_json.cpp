#include "annuli/core/json.h"
#include "annuli/tokenizer/tokenizer_files.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

AddedToken added_token_of(const FieldReader& fields, const Json& json) {
  const std::string content =
      json.is_object() ? fields.text(json, "content") : "";
  if (content.empty()) {
    fields.refuse("added token " + json.dump(), "an id and a content");
  }
  AddedToken token;
  token.content = content;
  token.id = id_of(FieldReader::field(json, "id"), content, fields.where());
  token.special = fields.flag(json, "special", false);
  token.normalized = fields.flag(json, "normalized", !token.special);
  token.single_word = fields.flag(json, "single_word", false);
  token.lstrip = fields.flag(json, "lstrip", false);
  token.rstrip = fields.flag(json, "rstrip", false);
  return token;
}

}  // namespace

void read_added_tokens(const FieldReader& fields, const Json& json,
                       TokenizerDefinition& definition) {
  if (json.is_null()) return;
  if (!json.is_array()) fields.refuse("added_tokens " + json.dump(), "a list");
  for (const Json& token : json) {
    definition.added_tokens.push_back(added_token_of(fields, token));
  }
}

TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path) {
  const FieldReader fields(path.string());
  const Json json = read_json(path);
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

}  // namespace annuli

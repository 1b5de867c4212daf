#include "annuli/core/json.h"
#include "annuli/tokenizer/added_token_files.h"
#include "annuli/tokenizer/tokenizer_files.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
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

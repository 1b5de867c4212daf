#include "annuli/core/json.h"
#include "annuli/tokenizer/json_fields.h"
#include "annuli/tokenizer/sentencepiece_tokenizer.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

// Null where there is no such file.
Json beside(const fs::path& model, const char* name) {
  const fs::path path = model.parent_path() / name;
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) ? read_json(path) : Json();
}

}  // namespace

SentencePieceSettings SentencePieceSettings::beside(const fs::path& model) {
  SentencePieceSettings settings;
  const char* name = "tokenizer_config.json";
  const FieldReader fields((model.parent_path() / name).string());
  const Json config = annuli::beside(model, name);
  if (config.is_object()) {
    settings.begin = fields.flag(config, "add_bos_token", settings.begin);
    settings.end = fields.flag(config, "add_eos_token", settings.end);
  }
  const Json added = annuli::beside(model, "added_tokens.json");
  if (added.is_object() && !added.empty()) {
    settings.notices.push_back(fmt::format(
        "{}: the {} tokens of added_tokens.json beside it are not read; where "
        "they are needed save a tokenizer.json with `transformers`",
        model.string(), added.size()));
  }
  return settings;
}

}  // namespace annuli

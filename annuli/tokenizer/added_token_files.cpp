#include "annuli/tokenizer/added_token_files.h"

#include <algorithm>
#include <set>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

class AddedTokenFiles {
 public:
  explicit AddedTokenFiles(const fs::path& folder) : folder_(folder) {}

  std::vector<AddedToken> read(const Vocabulary& vocabulary) {
    const Json config = object_in("tokenizer_config.json");
    collect_special(config);
    collect_special(object_in("special_tokens_map.json"));
    read_decoder(config);
    read_plain(object_in("added_tokens.json"));
    for (const auto& [spelled, id] : vocabulary) {
      if (special_.contains(spelled)) add({spelled, id, true, false});
    }
    return std::move(tokens_);
  }

 private:
  // Empty where there is no such file.
  Json object_in(const char* name) const {
    const fs::path path = folder_ / name;
    if (!fs::exists(path)) return Json::object();
    Json json = read_json(path);
    if (!json.is_object()) {
      FieldReader(path.string()).refuse("the file", "an object");
    }
    return json;
  }

  // "eos_token": "</s>" or {"content": "</s>", ...}, or a list of such.
  void collect_special(const Json& json) {
    for (const auto& [key, value] : json.items()) {
      const bool one = key.ends_with("_token");
      if (one || key == "additional_special_tokens") add_special(value);
    }
  }

  void add_special(const Json& value) {
    if (value.is_string()) {
      special_.insert(value.get<std::string>());
    } else if (value.is_object() && value.contains("content")) {
      add_special(value["content"]);
    } else if (value.is_array()) {
      for (const Json& member : value) add_special(member);
    }
  }

  void read_decoder(const Json& config) {
    const Json& decoder = FieldReader::field(config, "added_tokens_decoder");
    if (decoder.is_null()) return;
    const FieldReader fields((folder_ / "tokenizer_config.json").string());
    if (!decoder.is_object()) {
      fields.refuse("added_tokens_decoder " + decoder.dump(), "an object");
    }
    for (const auto& [key, value] : decoder.items()) {
      const Json id = Json::parse(key, nullptr, false);
      add(added_token_of(fields, value, id));
    }
  }

  void read_plain(const Json& json) {
    const std::string where = (folder_ / "added_tokens.json").string();
    for (const auto& [content, id] : json.items()) {
      if (content.empty()) {
        FieldReader(where).refuse("an empty token", "one with a text");
      }
      const bool special = special_.contains(content);
      add({content, id_of(id, content, where), special, !special});
    }
  }

  void add(AddedToken token) {
    const auto known = std::find_if(
        tokens_.begin(), tokens_.end(),
        [&](const auto& other) { return other.content == token.content; });
    if (known == tokens_.end()) return tokens_.push_back(std::move(token));
    if (known->id != token.id) {
      user_error(
          "reading tokenizer {}: found the added token '{}' with the ids {} "
          "and {} in its files, expected one id",
          folder_.string(), token.content, known->id, token.id);
    }
  }

  const fs::path& folder_;
  std::set<std::string> special_;
  std::vector<AddedToken> tokens_;
};

}  // namespace

std::vector<AddedToken> read_added_token_files(const fs::path& folder,
                                               const Vocabulary& vocabulary) {
  return AddedTokenFiles(folder).read(vocabulary);
}

AddedToken added_token_of(const FieldReader& fields, const Json& json,
                          const Json& id) {
  const std::string content =
      json.is_object() ? fields.text(json, "content") : "";
  if (content.empty()) {
    fields.refuse("added token " + json.dump(), "an id and a content");
  }
  AddedToken token;
  token.content = content;
  token.id = id_of(id, content, fields.where());
  token.special = fields.flag(json, "special", false);
  token.normalized = fields.flag(json, "normalized", !token.special);
  token.single_word = fields.flag(json, "single_word", false);
  token.lstrip = fields.flag(json, "lstrip", false);
  token.rstrip = fields.flag(json, "rstrip", false);
  return token;
}

}  // namespace annuli

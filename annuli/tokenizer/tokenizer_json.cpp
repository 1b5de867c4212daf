#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/json_fields.h"
#include "annuli/tokenizer/split_syntax.h"
#include "annuli/tokenizer/tokenizer_files.h"

namespace annuli {
namespace {

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : where_(path.string()), json_(read_json(path)) {}

  BpeDefinition run() {
    definition_.source = where_;
    if (!json_.is_object()) refuse("the file", "an object");
    read_normalizer(field(json_, "normalizer"));
    read_pre_tokenizer(field(json_, "pre_tokenizer"));
    if (!byte_level_) {
      refuse("pre_tokenizer without ByteLevel", "byte-level BPE");
    }
    read_model(field(json_, "model"));
    read_added_tokens(field(json_, "added_tokens"));
    return std::move(definition_);
  }

 private:
  [[noreturn]] void refuse(const std::string& found,
                           const std::string& expected) const {
    user_error("reading tokenizer {}: found {}, expected {}", where_, found,
               expected);
  }

  // An absent field is null.
  static const Json& field(const Json& json, const char* name) {
    static const Json kNull;
    const auto found = json.find(name);
    return found == json.end() ? kNull : *found;
  }

  bool flag(const Json& json, const char* name, bool absent) const {
    const Json& value = field(json, name);
    if (value.is_null()) return absent;
    if (!value.is_boolean()) {
      refuse(fmt::format("{} = {}", name, value.dump()), "true or false");
    }
    return value.get<bool>();
  }

  std::string type_of(const Json& json, const char* what) const {
    if (!json.is_object() || !field(json, "type").is_string()) {
      refuse(fmt::format("{} without a type", what), "an object with one");
    }
    return json["type"].get<std::string>();
  }

  const Json& members(const Json& json, const char* name) const {
    const Json& list = field(json, name);
    if (!list.is_array()) refuse(fmt::format("no {}", name), "a list");
    return list;
  }

  void read_normalizer(const Json& json) {
    if (json.is_null()) return;
    const std::string type = type_of(json, "normalizer");
    if (type == "Sequence") {
      for (const Json& member : members(json, "normalizers")) {
        read_normalizer(member);
      }
    } else if (type == "NFC") {
      definition_.normalize_nfc = true;
    } else {
      refuse("normalizer " + type, "none or NFC");
    }
  }

  void read_pre_tokenizer(const Json& json) {
    if (json.is_null()) return;
    const std::string type = type_of(json, "pre_tokenizer");
    if (byte_level_) refuse(type + " after ByteLevel", "ByteLevel last");
    if (type == "Sequence") {
      for (const Json& member : members(json, "pretokenizers")) {
        read_pre_tokenizer(member);
      }
    } else if (type == "Split") {
      read_split(json);
    } else if (type == "Digits") {
      const bool each = flag(json, "individual_digits", false);
      add_split(each ? "\\p{N}" : "\\p{N}+");
    } else if (type == "ByteLevel") {
      byte_level_ = true;
      if (flag(json, "add_prefix_space", true)) {
        definition_.pre_tokenizer.add_prefix_space();
      }
      if (flag(json, "use_regex", true)) add_split(PreTokenizer::kGpt2Pattern);
    } else {
      refuse("pre_tokenizer " + type, "Sequence, Split, Digits or ByteLevel");
    }
  }

  // "invert" swaps matches and gaps; Isolated keeps both.
  void read_split(const Json& json) {
    if (field(json, "behavior") != "Isolated") {
      refuse("Split behavior " + field(json, "behavior").dump(), "Isolated");
    }
    const Json& pattern = field(json, "pattern");
    for (const char* kind : {"Regex", "String"}) {
      if (!pattern.is_object() || !field(pattern, kind).is_string()) continue;
      const std::string text = pattern[kind].get<std::string>();
      const bool literal = std::string_view(kind) == "String";
      return add_split(literal ? quoted_pattern(text) : text);
    }
    refuse("Split pattern " + pattern.dump(), "a Regex or a String");
  }

  void add_split(const std::string& pattern) {
    try {
      definition_.pre_tokenizer.add_split(pattern);
    } catch (const UserError& error) {
      user_error("reading tokenizer {}: {}", where_, error.what());
    }
  }

  void read_model(const Json& json) {
    if (!json.is_object()) refuse("no model", "a BPE model");
    const Json& type = field(json, "type");
    if (!type.is_null() && type != "BPE") {
      refuse("model " + type.dump(), "BPE");
    }
    refuse_unsupported(json);
    definition_.ignore_merges = flag(json, "ignore_merges", false);
    definition_.vocabulary =
        vocabulary_of(field(json, "vocab"), where_ + ", model.vocab");
    for (const Json& merge : members(json, "merges")) read_merge(merge);
  }

  void refuse_unsupported(const Json& json) const {
    if (flag(json, "byte_fallback", false)) {
      refuse("byte_fallback", "byte-level BPE without it");
    }
    const Json& dropout = field(json, "dropout");
    if (!dropout.is_null() && dropout != 0.0) {
      refuse("dropout " + dropout.dump(), "none");
    }
    for (const char* affix :
         {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& value = field(json, affix);
      if (!value.is_null() && value != "") {
        refuse(fmt::format("{} {}", affix, value.dump()), "none");
      }
    }
  }

  void read_merge(const Json& json) {
    const std::string place =
        fmt::format("{}, model.merges[{}]", where_, definition_.merges.size());
    if (json.is_string()) {
      definition_.merges.push_back(
          merge_of_line(json.get_ref<const std::string&>(), place));
    } else if (json.is_array() && json.size() == 2 && json[0].is_string() &&
               json[1].is_string()) {
      definition_.merges.emplace_back(json[0], json[1]);
    } else {
      user_error("reading {}: found {}, expected two tokens", place,
                 json.dump());
    }
  }

  void read_added_tokens(const Json& json) {
    if (json.is_null()) return;
    if (!json.is_array()) refuse("added_tokens " + json.dump(), "a list");
    for (const Json& token : json) {
      const Json& content = field_of_token(token);
      const std::string text = content.get<std::string>();
      for (const char* name : {"lstrip", "rstrip", "single_word"}) {
        if (flag(token, name, false)) {
          refuse(fmt::format("added token '{}' with {}", text, name),
                 "one that is matched as it stands");
        }
      }
      const bool special = flag(token, "special", false);
      definition_.added_tokens.push_back(
          {text, id_of(field(token, "id"), text, where_), special,
           flag(token, "normalized", !special)});
    }
  }

  const Json& field_of_token(const Json& token) const {
    static const Json kNull;
    const Json& content = token.is_object() ? field(token, "content") : kNull;
    if (!content.is_string() || content == "") {
      refuse("added token " + token.dump(), "an id and a content");
    }
    return content;
  }

  std::string where_;
  Json json_;
  BpeDefinition definition_;
  bool byte_level_ = false;
};

}  // namespace

BpeDefinition read_tokenizer_json(const std::filesystem::path& path) {
  return Reader(path).run();
}

}  // namespace annuli

#include "annuli/tokenizer/json_fields.h"

#include "annuli/core/error.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {

int32_t id_of(const Json& json, const std::string& token,
              const std::string& where) {
  if (!json.is_number_unsigned() || !fits_in<int32_t>(json)) {
    user_error("reading {}: token '{}' has id {}, expected a number from 0 up",
               where, token, json.dump());
  }
  return json.get<int32_t>();
}

Vocabulary vocabulary_of(const Json& json, const std::string& where) {
  if (!json.is_object() || json.empty()) {
    user_error("reading {}: found no vocabulary, expected {{\"token\": id}}",
               where);
  }
  Vocabulary vocabulary;
  vocabulary.reserve(json.size());
  for (const auto& [token, id] : json.items()) {
    vocabulary.emplace_back(token, id_of(id, token, where));
  }
  return vocabulary;
}

std::pair<std::string, std::string> merge_of_line(std::string_view line,
                                                  const std::string& where) {
  const size_t space = line.find(' ');
  const bool two = space != line.npos && space > 0 && space + 1 < line.size() &&
                   line.find(' ', space + 1) == line.npos;
  if (!two) {
    user_error("reading {}: found merge '{}', expected two tokens and a space",
               where, line);
  }
  return {std::string(line.substr(0, space)),
          std::string(line.substr(space + 1))};
}

void FieldReader::refuse(const std::string& found,
                         const std::string& expected) const {
  user_error("reading tokenizer {}: found {}, expected {}", where_, found,
             expected);
}

const Json& FieldReader::field(const Json& json, const char* name) {
  static const Json kNull;
  const auto found = json.find(name);
  return found == json.end() ? kNull : *found;
}

bool FieldReader::flag(const Json& json, const char* name, bool absent) const {
  const Json& value = field(json, name);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) {
    refuse(fmt::format("{} = {}", name, value.dump()), "true or false");
  }
  return value.get<bool>();
}

size_t FieldReader::count(const Json& json, const char* name,
                          size_t absent) const {
  const Json& value = field(json, name);
  if (value.is_null()) return absent;
  if (!value.is_number_unsigned()) {
    refuse(fmt::format("{} = {}", name, value.dump()), "a number from 0 up");
  }
  return value.get<size_t>();
}

std::string FieldReader::text(const Json& json, const char* name,
                              const std::string& absent) const {
  const Json& value = field(json, name);
  if (value.is_null()) return absent;
  if (!value.is_string()) {
    refuse(fmt::format("{} = {}", name, value.dump()), "a string");
  }
  return value.get<std::string>();
}

std::string FieldReader::character(const Json& json, const char* name,
                                   const std::string& absent) const {
  std::string value = text(json, name, absent);
  if (value.empty() || utf8_length_at(value, 0) != value.size()) {
    refuse(fmt::format("{} '{}'", name, value), "one character");
  }
  return value;
}

std::string FieldReader::type_of(const Json& json, const char* what) const {
  if (!json.is_object() || !field(json, "type").is_string()) {
    refuse(fmt::format("{} without a type", what), "an object with one");
  }
  return json["type"].get<std::string>();
}

const Json& FieldReader::list(const Json& json, const char* name) const {
  const Json& list = field(json, name);
  if (!list.is_array()) refuse(fmt::format("no {}", name), "a list");
  return list;
}

std::pair<std::string, bool> FieldReader::pattern(const Json& json,
                                                  const char* what) const {
  const Json& pattern = field(json, "pattern");
  for (const char* kind : {"Regex", "String"}) {
    if (!pattern.is_object() || !field(pattern, kind).is_string()) continue;
    const auto text = pattern[kind].get<std::string>();
    if (text.empty()) refuse(fmt::format("{} of nothing", what), "a pattern");
    return {text, std::string_view(kind) == "String"};
  }
  refuse(fmt::format("{} pattern {}", what, pattern.dump()),
         "a Regex or a String");
}

}  // namespace annuli

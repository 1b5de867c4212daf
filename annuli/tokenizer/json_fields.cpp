#include "annuli/tokenizer/json_fields.h"

#include "annuli/core/error.h"

namespace annuli {

int32_t id_of(const Json& json, const std::string& token,
              const std::string& where) {
  if (!json.is_number_unsigned() || !fits_in<int32_t>(json)) {
    user_error("reading {}: token '{}' has id {}, expected a number from 0 up",
               where, token, json.dump());
  }
  return json.get<int32_t>();
}

std::vector<std::pair<std::string, int32_t>> vocabulary_of(
    const Json& json, const std::string& where) {
  if (!json.is_object() || json.empty()) {
    user_error("reading {}: found no vocabulary, expected {{\"token\": id}}",
               where);
  }
  std::vector<std::pair<std::string, int32_t>> vocabulary;
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

}  // namespace annuli

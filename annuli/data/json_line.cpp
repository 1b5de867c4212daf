#include "annuli/data/json_line.h"

#include <fmt/ranges.h>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"
#include "annuli/data/standard_json.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli::data {
namespace {

class Refusal {
 public:
  Refusal(const LinePlace& place, const std::string& column)
      : place_(place), column_(column) {}

  [[noreturn]] void operator()(std::string_view found,
                               std::string_view hint = "") const {
    user_error(
        "reading {} line {}: found {}, expected an object with a string in its "
        "field \"{}\"{}",
        place_.path.string(), place_.number, found, one_line(column_), hint);
  }

 private:
  const LinePlace& place_;
  const std::string& column_;
};

// ""; or which fields --text-column could name.
std::string other_fields(const Json& object, const std::string& column) {
  std::vector<std::string> strings;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string() || key == column) continue;
    strings.push_back(quote(key));
  }
  if (!strings.empty()) {
    return fmt::format("; --text-column (data.text_column) takes {}",
                       fmt::join(strings, ", "));
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) {
    if (key == column) continue;
    keys.push_back(quote(key));
  }
  return keys.empty() ? ""
                      : fmt::format(
                            "; of its other fields ({}) none holds text for "
                            "--text-column",
                            fmt::join(keys, ", "));
}

// Of a file that is one value on several lines.
bool goes_on(std::string_view line) {
  const size_t last = line.find_last_not_of(" \t\r");
  return last != line.npos &&
         (line[last] == '{' || line[last] == '[' || line[last] == ',');
}

std::string one_value(const LinePlace& place, const char* filter) {
  return fmt::format(
      "; a file that is one value becomes lines by: jq -c '{}' "
      "{} > NEW.jsonl",
      filter, place.path.string());
}

Json parse(std::string_view line, const LinePlace& place,
           int64_t& lone_surrogates, const Refusal& refuse) {
  if (is_too_deep(line)) refuse("values that are nested too deeply");
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_discarded()) return json;
  if (valid_utf8_end(line, 0) != line.size()) {
    refuse("no valid UTF-8",
           "; text in another encoding is converted by iconv: iconv -f GB18030 "
           "-t UTF-8");
  }
  json = Json::parse(standard_json(line, lone_surrogates), nullptr, false);
  if (!json.is_discarded()) return json;
  const char* filter = line.find('[') < line.find('{') ? ".[]" : ".";
  refuse("no valid JSON",
         place.number == 1 && goes_on(line) ? one_value(place, filter) : "");
}

}  // namespace

LineText text_of_line(std::string_view line, const std::string& column,
                      const LinePlace& place) {
  const Refusal refuse(place, column);
  LineText found;
  Json json = parse(line, place, found.lone_surrogates, refuse);
  if (!json.is_object()) {
    refuse(json.type_name(), json.is_array() ? one_value(place, ".[]") : "");
  }
  const auto text = json.find(column);
  if (text == json.end()) refuse("no such field", other_fields(json, column));
  if (!text->is_string()) {
    refuse(fmt::format("{} in it", text->type_name()),
           other_fields(json, column));
  }
  found.text = std::move(text->get_ref<std::string&>());
  return found;
}

}  // namespace annuli::data

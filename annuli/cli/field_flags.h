#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "annuli/config/growth_fields.h"

// Flags from a plan's fields, so that the two never differ: `noise_snr_db` of
// growth_fields.h is --noise-snr-db, with its range and help.
namespace annuli::cli {

inline std::string flag_name(std::string field) {
  std::ranges::replace(field, '_', '-');
  return field;
}

// "" or what is wrong with the text as a value of this field; sets the value.
template <typename T>
std::string parse_flag(const std::string& text, const Field& field, T& value) {
  if constexpr (kIsOptional<T>) {
    if (text == "none" || text == "null") return value.reset(), "";
    return parse_flag(text, field, value.emplace());
  } else if constexpr (std::is_enum_v<T>) {
    const auto named = value_of<T>(text);
    if (!named) return "found '" + text + "', expected " + words_of<T>();
    return value = *named, "";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value = text, "";
  } else {
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec == std::errc() && parsed.ptr == end &&
        field.range.contains(static_cast<double>(value))) {
      return "";
    }
    const std::string range = field.range.text();
    return "found '" + text + "', expected a " +
           (std::is_same_v<T, double> ? "number" : "whole number") +
           (range.empty() ? "" : ", " + range);
  }
}

// An entry of a list: "0", or "[0" and " 2]" at the ends of one in brackets.
inline std::string without_brackets(const std::string& text) {
  const size_t begin = text.find_first_not_of("[ ");
  const size_t end = text.find_last_not_of("] ");
  return begin == text.npos || end == text.npos || end < begin
             ? text
             : text.substr(begin, end - begin + 1);
}

template <typename T>
std::string default_text(const T& value) {
  if constexpr (kIsOptional<T>) {
    return value ? default_text(*value) : "";
  } else if constexpr (std::is_enum_v<T>) {
    return std::string(word_of(value));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else {
    return fmt::format("{}", value);
  }
}

// Adds one flag for each plain field of a section.
class FieldFlags {
 public:
  explicit FieldFlags(CLI::App& command) : command_(command) {}

  template <typename T>
  void operator()(const Field& field, T& value) const {
    const std::string name = "--" + flag_name(field.name);
    if constexpr (std::is_same_v<T, bool>) {
      command_.add_flag(name, value, field.help);
    } else if constexpr (kIsList<T>) {
      if constexpr (!Section<typename T::value_type>) list(name, field, value);
    } else if constexpr (!Section<T> && !kIsOptionalSection<T>) {
      single(name, field, value);
    }
  }

 private:
  template <typename T>
  void single(const std::string& name, const Field& field, T& value) const {
    CLI::Option* option = command_.add_option_function<std::string>(
        name,
        [&value, field, name](const std::string& text) {
          const std::string wrong = parse_flag(text, field, value);
          if (!wrong.empty()) throw CLI::ValidationError(name, wrong);
        },
        field.help);
    if constexpr (std::is_enum_v<T>) {
      option->type_name(words_of<T>());
    } else {
      option->type_name(field.range.text());
    }
    option->default_str(default_text(value));
  }

  // --layer-map 0,1,1,2; [0, 1, 1, 2], as in a plan, is the same.
  template <typename T>
  void list(const std::string& name, const Field& field,
            std::vector<T>& values) const {
    CLI::Option* option =
        command_.add_option_function<std::vector<std::string>>(
            name,
            [&values, field, name](const std::vector<std::string>& texts) {
              values.clear();
              for (const std::string& text : texts) {
                const std::string wrong = parse_flag(
                    without_brackets(text), field, values.emplace_back());
                if (!wrong.empty()) throw CLI::ValidationError(name, wrong);
              }
            },
            field.help);
    option->delimiter(',')->allow_extra_args(false)->type_name("A,B,...");
    if constexpr (kIsWordList<std::vector<T>>) {
      option->default_str(comma_list_of(values));
    }
  }

  CLI::App& command_;
};

// The section outlives the parsing of the command line.
template <Section S>
void add_field_flags(CLI::App& command, S& section) {
  visit_fields(FieldFlags(command), section);
}

}  // namespace annuli::cli

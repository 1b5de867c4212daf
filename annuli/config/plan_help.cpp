#include <fmt/core.h>
#include <fmt/ranges.h>

#include "annuli/config/plan_fields.h"
#include "annuli/config/plan_json.h"
#include "annuli/core/wrap.h"

namespace annuli {
namespace {

constexpr size_t kColumns = 80;
const std::string kIndent(6, ' ');

template <typename T>
std::string type_text() {
  if constexpr (kIsOptional<T>) {
    return type_text<typename T::value_type>() + " or null";
  } else if constexpr (kIsWordList<T>) {
    return "list of words";
  } else if constexpr (kIsList<T>) {
    return fmt::format("list of {}", type_text<typename T::value_type>());
  } else if constexpr (std::is_enum_v<T>) {
    return words_of<T>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return "true, false";
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return "integer";
  } else if constexpr (std::is_same_v<T, double>) {
    return "number";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "text";
  } else if constexpr (std::is_same_v<T, GrowthStep>) {
    return "operators";
  } else {
    return "map of text";
  }
}

// The default as the plan's own JSON writes it; empty where there is nothing
// to show.
template <typename T>
std::string default_text(const T& value) {
  if constexpr (std::is_same_v<T, std::vector<GrowthStep>>) {
    return "";
  } else if constexpr (kIsOptional<T>) {
    return value ? default_text(*value) : "null";
  } else if constexpr (kIsWordList<T>) {
    return "[" + comma_list_of(value) + "]";
  } else if constexpr (std::is_enum_v<T>) {
    return std::string(word_of(value));
  } else if constexpr (std::is_same_v<T, double>) {
    return fmt::format("{}", value);
  } else {
    return value == T{} && std::is_class_v<T> ? "" : OrderedJson(value).dump();
  }
}

// One entry per field: key, type, range, default; then the help.
struct HelpWriter {
  std::string& out;
  std::string path;

  template <typename T>
  void operator()(const Field& field, const T& value) const {
    const std::string key = path + field.name;
    if constexpr (Section<T>) {
      section(key, field, value);
    } else if constexpr (kIsOptionalSection<T>) {
      section(key, field, typename T::value_type{});
    } else if constexpr (kIsSectionList<T> &&
                         !std::is_same_v<T, std::vector<GrowthStep>>) {
      section(key + ".N", field, typename T::value_type{});
    } else {
      line(key, field, type_text<T>(), default_text(value));
    }
  }

  template <typename S>
  void section(const std::string& key, const Field& field,
               const S& value) const {
    end_block();
    const char* note = field.hashed ? "" : " (may change before --resume)";
    out += wrapped(fmt::format("{}: {}{}", key, field.help, note), kColumns);
    out += "\n";
    visit_fields(HelpWriter{out, key + "."}, value);
    end_block();
  }

  void end_block() const {
    if (!out.ends_with("\n\n")) out += "\n";
  }

  void line(const std::string& key, const Field& field, const std::string& type,
            const std::string& fallback) const {
    std::string facts = type;
    const std::string range = field.range.text();
    if (!range.empty()) facts += ", " + range;
    if (field.required && field.instead.empty()) {
      facts += "; required";
    } else if (field.required) {
      facts += fmt::format("; required, or {}", fmt::join(field.instead, ", "));
    } else if (!fallback.empty()) {
      facts += "; default " + fallback;
    }
    if (!field.hashed) facts += "; may change before --resume";
    const bool fits = key.size() + facts.size() + 4 <= kColumns;
    out += fmt::format(
        "  {}:{}{}\n{}{}\n", key, fits ? " " : "\n" + kIndent, facts, kIndent,
        indented(wrapped(field.help, kColumns - kIndent.size()), kIndent));
  }
};

}  // namespace

std::string plan_help() {
  std::string out =
      "A plan is one YAML file. These are its keys, each with its type, range\n"
      "and default, and with what it means. phases.N stands for any entry of\n"
      "the list of phases; --set takes its index, from 0, or its name.\n\n";
  const Plan defaults;
  visit_fields(HelpWriter{out, ""}, defaults);
  return out;
}

}  // namespace annuli

#include <fmt/core.h>

#include "annuli/config/plan_fields.h"
#include "annuli/config/plan_json.h"

namespace annuli {
namespace {

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
    } else if constexpr (std::is_same_v<T, std::vector<PhasePlan>>) {
      section(key + ".N", field, PhasePlan{});
    } else {
      line(key, field, type_text<T>(), default_text(value));
    }
  }

  template <typename S>
  void section(const std::string& key, const Field& field,
               const S& value) const {
    end_block();
    out += fmt::format("{}: {}\n", key, field.help);
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
    if (field.required) {
      facts += "; required";
    } else if (!fallback.empty()) {
      facts += "; default " + fallback;
    }
    const bool fits = key.size() + facts.size() + 4 <= 80;
    out += fmt::format("  {}:{}{}\n      {}\n", key, fits ? " " : "\n      ",
                       facts, field.help);
  }
};

}  // namespace

std::string plan_help() {
  std::string out =
      "A plan is one YAML file. Its keys, with type, range and default\n"
      "(phases.N: one entry of the list; --set takes its index or name):\n\n";
  const Plan defaults;
  visit_fields(HelpWriter{out, ""}, defaults);
  return out;
}

}  // namespace annuli

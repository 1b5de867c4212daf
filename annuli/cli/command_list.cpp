#include "annuli/cli/command_list.h"

#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/cli/field_flags.h"

namespace annuli::cli {
namespace {

using Kinds = std::map<std::string, Json>;  // by the name of an option

template <typename T>
Json kind_of() {
  if constexpr (kIsOptional<T>) {
    Json kind = kind_of<typename T::value_type>();
    kind["none"] = true;
    return kind;
  } else if constexpr (kIsList<T>) {
    return kind_of<typename T::value_type>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return {{"type", "flag"}};
  } else if constexpr (std::is_enum_v<T>) {
    return {{"type", "word"}, {"words", EnumWords<T>::kWords}};
  } else if constexpr (std::is_integral_v<T>) {
    return {{"type", "integer"}};
  } else if constexpr (std::is_floating_point_v<T>) {
    return {{"type", "number"}};
  } else {
    return {{"type", "text"}};
  }
}

// The library keeps an option's value as text; a plan's field knows its type.
struct FieldKinds {
  Kinds& kinds;

  template <typename T>
  void operator()(const Field& field, const T& value) const {
    if constexpr (!Section<T> && !kIsOptionalSection<T> && !kIsSectionList<T>) {
      Json kind = kind_of<T>();
      if constexpr (std::is_same_v<T, bool>) {
        if (value) kind["default"] = "true";
      }
      kinds[flag_name(field.name)] = kind;
    }
  }
};

struct OperatorKinds {
  std::string_view name;
  Kinds& kinds;

  template <typename T>
  void operator()(const Field& field, const T& value) const {
    if constexpr (kIsOptionalSection<T>) {
      if (flag_name(field.name) != name) return;
      const typename T::value_type fields;
      visit_fields(FieldKinds{kinds}, fields);
    } else {
      FieldKinds{kinds}(field, value);
    }
  }
};

// Those of a growth operator's fields.
Kinds field_kinds(const CLI::App& verb) {
  Kinds kinds;
  if (verb.get_parent() != nullptr && verb.get_parent()->get_name() == "grow") {
    const GrowPlan plan;
    visit_fields(OperatorKinds{verb.get_name(), kinds}, plan);
  }
  return kinds;
}

// Of "TEXT:{f32,f64}".
std::vector<std::string> words_in(std::string_view type) {
  const size_t begin = type.find('{');
  const size_t end = type.rfind('}');
  if (begin == type.npos || end == type.npos) return {};
  return CLI::detail::split(
      std::string(type.substr(begin + 1, end - begin - 1)), ',');
}

Json plain_kind(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (option.get_items_expected_max() == 0) {
    return type.empty() ? Json{{"type", "flag"}}
                        : Json{{"type", "flag"}, {"value", type}};
  }
  if (const auto words = words_in(type); !words.empty()) {
    return {{"type", "word"}, {"words", words}};
  }
  if (type.starts_with("INT") || type.starts_with("UINT")) {
    return {{"type", "integer"}};
  }
  return {{"type", type.starts_with("FLOAT") ? "number" : "text"}};
}

Json describe(const CLI::Option& option, const Kinds& kinds) {
  const bool positional = option.get_positional();
  const std::string name =
      positional ? option.get_name(true) : option.get_lnames().front();
  const auto field = positional ? kinds.end() : kinds.find(name);
  Json value = field == kinds.end() ? plain_kind(option) : field->second;
  value["name"] = name;
  value["help"] = option.get_description();
  if (const std::string text = option.get_default_str(); !text.empty()) {
    value["default"] = text;
  }
  if (option.get_required()) value["required"] = true;
  if (option.get_delimiter() == ',') {
    value["joined"] = true;
  } else if (option.get_items_expected_max() > 1) {
    value["many"] = true;
  }
  return value;
}

Json describe(const CLI::App& verb) {
  const Kinds kinds = field_kinds(verb);
  Json arguments = Json::array();
  Json options = Json::array();
  for (const CLI::Option* option : verb.get_options()) {
    if (option == verb.get_help_ptr() || option == verb.get_help_all_ptr()) {
      continue;
    }
    (option->get_positional() ? arguments : options)
        .push_back(describe(*option, kinds));
  }
  Json verbs = Json::array();
  for (const CLI::App* below : verb.get_subcommands(nullptr)) {
    verbs.push_back(describe(*below));
  }
  return {{"name", verb.get_name()},     {"help", verb.get_description()},
          {"footer", verb.get_footer()}, {"arguments", arguments},
          {"options", options},          {"verbs", verbs}};
}

}  // namespace

Json command_list(const CLI::App& app) {
  Json list = program_versions();
  const Json program = describe(app);
  list["options"] = program.at("options");
  list["verbs"] = program.at("verbs");
  return list;
}

}  // namespace annuli::cli

#include "annuli/config/plan_json.h"

#include <cmath>

#include "annuli/config/plan_fields.h"
#include "annuli/config/read_value.h"

namespace annuli {
namespace {

template <Section S>
OrderedJson section_json(const S& section, bool hashed_only);

// Adds each field of one section to one object.
struct JsonWriter {
  OrderedJson& json;
  bool hashed_only;
  OrderedJson defaults = {};  // of the section's fields, if hashed_only

  template <typename T>
  void operator()(const Field& field, const T& value) const {
    if (hashed_only && !field.hashed) return;
    if (hashed_only && field.hashed_if_set && is_default(field, value)) return;
    if constexpr (std::is_same_v<T, std::optional<double>>) {
      if (hashed_only && !value && !std::isnan(field.hashed_unset)) {
        json[field.name] = field.hashed_unset;
        return;
      }
    }
    if constexpr (kIsOptionalSection<T>) {
      if (value) json[field.name] = to_value(*value);
    } else {
      json[field.name] = to_value(value);
    }
  }

  // One that is not written by default, like an optional section, is not in
  // `defaults`.
  template <typename T>
  bool is_default(const Field& field, const T& value) const {
    const auto found = defaults.find(field.name);
    if (found != defaults.end()) return *found == to_value(value);
    if constexpr (kIsOptional<T>) return !value;
    return false;
  }

  template <typename T>
  OrderedJson to_value(const T& value) const {
    if constexpr (std::is_enum_v<T>) {
      return word_of(value);
    } else if constexpr (kIsOptional<T>) {
      return value ? to_value(*value) : OrderedJson();
    } else if constexpr (kIsList<T>) {
      OrderedJson list = OrderedJson::array();
      for (const auto& item : value) list.push_back(to_value(item));
      return list;
    } else if constexpr (Section<T>) {
      return section_json(value, hashed_only);
    } else {
      return value;
    }
  }
};

template <Section S>
OrderedJson section_json(const S& section, bool hashed_only) {
  OrderedJson json = OrderedJson::object();
  JsonWriter write{json, hashed_only};
  if (hashed_only) write.defaults = section_json(S{}, false);
  visit_fields(write, section);
  return json;
}

}  // namespace

OrderedJson plan_to_json(const Plan& plan, bool hashed_only) {
  return section_json(plan, hashed_only);
}

OrderedJson step_to_json(const GrowthStep& step) {
  return section_json(step, /*hashed_only=*/true);
}

}  // namespace annuli

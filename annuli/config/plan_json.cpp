#include "annuli/config/plan_json.h"

#include <cmath>

#include "annuli/config/plan_fields.h"
#include "annuli/config/read_value.h"

namespace annuli {
namespace {

// Adds each field of one section to one object.
struct JsonWriter {
  OrderedJson& json;
  bool hashed_only;

  template <typename T>
  void operator()(const Field& field, const T& value) const {
    if (hashed_only && !field.hashed) return;
    if constexpr (std::is_same_v<T, std::string>) {
      if (hashed_only && field.hashed_if_set && value.empty()) return;
    }
    if constexpr (kIsOptional<T>) {
      if (hashed_only && field.hashed_if_set && !value) return;
    }
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
      OrderedJson map = OrderedJson::object();
      visit_fields(JsonWriter{map, hashed_only}, value);
      return map;
    } else {
      return value;
    }
  }
};

}  // namespace

OrderedJson plan_to_json(const Plan& plan, bool hashed_only) {
  OrderedJson json = OrderedJson::object();
  visit_fields(JsonWriter{json, hashed_only}, plan);
  return json;
}

OrderedJson step_to_json(const GrowthStep& step) {
  OrderedJson json = OrderedJson::object();
  visit_fields(JsonWriter{json, /*hashed_only=*/false}, step);
  return json;
}

}  // namespace annuli

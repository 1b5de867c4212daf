#include "annuli/config/sliding_window.h"

#include <fmt/core.h>

#include <algorithm>

#include "annuli/config/json_field.h"

namespace annuli {
namespace {

constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";
constexpr const char* kTypes = "layer_types";

bool slides(const Family& family, const Json& json, int64_t layer) {
  switch (family.sliding_window) {
    case SlidingWindow::kNever:
      return false;
    case SlidingWindow::kWhenSet:
    case SlidingWindow::kWhenAsked:
      return window_of(family, json).has_value();
    case SlidingWindow::kUpperLayers:
      return window_of(family, json) &&
             layer >= field<int64_t>(json, "max_window_layers");
    case SlidingWindow::kEvenLayers:
      return field<bool>(json, "use_sliding_window") && layer % 2 == 0 &&
             layer < field<int64_t>(json, "max_window_layers");
  }
  return false;
}

std::vector<std::string> stated_types(const Json& json, int64_t layers) {
  const Json& list = json[kTypes];
  if (!list.is_array()) {
    user_error("reading a model's config.json: '{}' is {}, expected a list",
               kTypes, shown(list));
  }
  if (static_cast<int64_t>(list.size()) != layers) {
    user_error(
        "reading a model's config.json: '{}' has {} entries, expected one for "
        "each of the {} layers",
        kTypes, list.size(), layers);
  }
  std::vector<std::string> types;
  for (const Json& entry : list) {
    types.push_back(entry.is_string() ? entry.get<std::string>()
                                      : shown(entry));
  }
  return types;
}

}  // namespace

std::optional<int64_t> window_of(const Family& family, const Json& json) {
  if (family.sliding_window == SlidingWindow::kNever) return std::nullopt;
  const bool always = family.sliding_window == SlidingWindow::kWhenSet;
  if (!always && !field<bool>(json, "use_sliding_window")) return std::nullopt;
  if (!states(json, "sliding_window")) return std::nullopt;
  return field<int64_t>(json, "sliding_window");
}

std::vector<std::string> attention_types(const Family& family, const Json& json,
                                         int64_t num_hidden_layers) {
  if (family.has(kTypes) && states(json, kTypes)) {
    return stated_types(json, num_hidden_layers);
  }
  std::vector<std::string> types;
  for (int64_t layer = 0; layer < num_hidden_layers; ++layer) {
    types.push_back(slides(family, json, layer) ? kSliding : kFull);
  }
  return types;
}

void refuse_sliding_window(const Family& family, const Json& json,
                           const ModelConfig& config) {
  const auto types = attention_types(family, json, config.num_hidden_layers);
  for (const std::string& type : types) {
    if (type == kFull || type == kSliding) continue;
    user_error(
        "reading a model's config.json: found {} in '{}', which no model here "
        "computes",
        quote(type), kTypes);
  }
  if (std::ranges::find(types, kSliding) == types.end()) return;
  const std::optional<int64_t> window = window_of(family, json);
  if (!window) {
    user_error(
        "reading a model's config.json: '{}' has layers of {}, but "
        "sliding_window is null or switched off",
        kTypes, quote(kSliding));
  }
  if (*window >= config.max_position_embeddings) return;
  user_error(
      "reading a model's config.json: sliding_window is {}, below "
      "max_position_embeddings {}, which no model here computes; for texts of "
      "up to {} tokens, set max_position_embeddings to {}",
      *window, config.max_position_embeddings, *window, *window);
}

}  // namespace annuli

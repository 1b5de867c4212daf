#include "annuli/grow/deepen.h"

#include <fmt/ranges.h>

#include <numeric>

#include "annuli/core/error.h"

namespace annuli::grow {
namespace {

// What a step that preserves nothing may cost at once, in nats, unless the plan
// says otherwise.
constexpr double kLossBudget = 0.5;

const char* to_string(DeepenPreset preset) {
  switch (preset) {
    case DeepenPreset::kCopyLast:
      return "copy-last";
    case DeepenPreset::kStack:
      return "stack";
    case DeepenPreset::kInterpose:
      return "interpose";
  }
  return "?";
}

std::vector<int64_t> copy_last(int64_t L, int64_t added) {
  std::vector<int64_t> map(L);
  std::iota(map.begin(), map.end(), 0);
  map.insert(map.end(), added, L - 1);
  return map;
}

std::vector<int64_t> stack(int64_t L, int64_t added) {
  if (added > L && added % L != 0) {
    user_error(
        "deepening by stacking: add_layers {}, expected a multiple of the "
        "parent's {} layers, or fewer than {}",
        added, L, L);
  }
  std::vector<int64_t> map(L);
  std::iota(map.begin(), map.end(), 0);
  const int64_t first = added < L ? L - added : 0;
  for (int64_t i = 0; i < added; ++i) map.push_back(first + i % L);
  return map;
}

std::vector<int64_t> interpose(int64_t L, int64_t added) {
  std::vector<int64_t> map;
  for (int64_t layer = 0; layer < L; ++layer) {
    const int64_t copies = (layer + 1) * added / L - layer * added / L;
    map.insert(map.end(), 1 + copies, layer);
  }
  return map;
}

void check_map(const std::vector<int64_t>& map, int64_t L) {
  int64_t next = 0;
  for (int64_t layer : map) {
    if (layer < 0 || layer > next || layer >= L) {
      user_error(
          "deepening: layer_map [{}] names layer {} where at most {} is "
          "expected; the first occurrences must be 0 .. {} in order",
          fmt::join(map, ", "), layer, std::min(next, L - 1), L - 1);
    }
    if (layer == next) ++next;
  }
  if (next != L) {
    user_error("deepening: layer_map [{}] leaves out layer {} of {}",
               fmt::join(map, ", "), next, L);
  }
}

}  // namespace

std::vector<int64_t> layer_map(const DeepenOptions& options, int64_t L) {
  if (!options.layer_map.empty()) {
    check_map(options.layer_map, L);
    return options.layer_map;
  }
  if (options.add_layers < 1) {
    user_error("deepening: add_layers {}, expected at least 1",
               options.add_layers);
  }
  switch (options.preset) {
    case DeepenPreset::kCopyLast:
      return copy_last(L, options.add_layers);
    case DeepenPreset::kStack:
      return stack(L, options.add_layers);
    case DeepenPreset::kInterpose:
      return interpose(L, options.add_layers);
  }
  ANNULI_CHECK(false, "preset {}", static_cast<int>(options.preset));
  return {};
}

AxisRule axis_rule(const DeepenOptions& options, int64_t parent_layers) {
  AxisRule rule;
  int64_t next = 0;
  for (int64_t layer : layer_map(options, parent_layers)) {
    const bool is_new = layer < next;
    if (!is_new) ++next;
    rule.layers.push_back({layer, is_new});
  }
  rule.zero_new_outputs = options.outputs == DeepenOutputs::kZero;
  return rule;
}

Recipe Deepen::recipe(const ModelConfig& parent, uint64_t seed) const {
  const AxisRule rule = axis_rule(options_, parent.num_hidden_layers);
  Recipe recipe;
  recipe.op = name();
  if (options_.layer_map.empty()) {
    recipe.arguments = {{"preset", to_string(options_.preset)},
                        {"add_layers", options_.add_layers}};
  } else {
    recipe.arguments = {{"layer_map", options_.layer_map}};
  }
  recipe.arguments["outputs"] = rule.zero_new_outputs ? "zero" : "keep";
  recipe.seed = seed;
  recipe.parent = parent;
  recipe.child = parent;
  recipe.child.num_hidden_layers = static_cast<int64_t>(rule.layers.size());
  recipe.exact =
      rule.zero_new_outputs ||
      rule.layers.size() == static_cast<size_t>(parent.num_hidden_layers);
  recipe.logit_budget = recipe.exact ? 0 : kLossBudget;
  derive(rule, recipe);
  return recipe;
}

}  // namespace annuli::grow

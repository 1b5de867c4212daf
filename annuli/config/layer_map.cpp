// Which layers the new ones copy; the presets' contract stands in
// grow/deepen.h.
#include <fmt/core.h>

#include <numeric>

#include "annuli/config/grown_shape.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

std::vector<int64_t> all_layers(int64_t L) {
  std::vector<int64_t> map(L);
  std::iota(map.begin(), map.end(), 0);
  return map;
}

std::vector<int64_t> copy_last(int64_t L, int64_t added) {
  std::vector<int64_t> map = all_layers(L);
  map.insert(map.end(), added, L - 1);
  return map;
}

std::vector<int64_t> stack(int64_t L, int64_t added, const Complain& complain) {
  if (added > L && added % L != 0) {
    complain("deepen.add_layers",
             fmt::format("found {}, expected a multiple of the parent's {} "
                         "layers, or fewer, to stack",
                         added, L));
  }
  std::vector<int64_t> map = all_layers(L);
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

std::vector<int64_t> middle(int64_t L, int64_t added,
                            const Complain& complain) {
  if (added > L) {
    complain("deepen.add_layers",
             fmt::format("found {}, expected at most the parent's {} layers, "
                         "to repeat the middle",
                         added, L));
  }
  std::vector<int64_t> map = all_layers(L);
  std::vector<int64_t> block(added);
  const int64_t first = (L - added) / 2;
  std::iota(block.begin(), block.end(), first);
  map.insert(map.begin() + first + added, block.begin(), block.end());
  return map;
}

// Every parent layer has a place, and first places keep the parent's order:
// otherwise the child is not the parent with layers added.
void check_map(const std::vector<int64_t>& map, int64_t layers,
               const Complain& complain) {
  const char* key = "deepen.layer_map";
  int64_t next = 0;  // the parent layer that comes first from here on
  for (const int64_t layer : map) {
    if (layer < 0 || layer >= layers) {
      complain(key, fmt::format("found layer {}, expected 0 to {}, the "
                                "parent's layers",
                                layer, layers - 1));
    }
    if (layer > next) {
      complain(key, fmt::format("found layer {} before any {}, expected first "
                                "uses in the parent's order",
                                layer, next));
    }
    if (layer == next) ++next;
  }
  if (next < layers) {
    complain(key, fmt::format("found no layer {}, expected each of the "
                              "parent's {} at least once",
                              next, layers));
  }
}

}  // namespace

std::vector<int64_t> layer_map(const DeepenPlan& deepen, int64_t L,
                               const Complain& complain) {
  const bool zero_output = deepen.preset == DeepenPreset::kZeroOutput;
  if (zero_output && deepen.outputs == DeepenOutputs::kKeep) {
    complain("deepen.outputs",
             "found keep beside the preset zero-output; "
             "expected zero, or the preset interpose");
  }
  if (!deepen.layer_map.empty()) {
    check_map(deepen.layer_map, L, complain);
    return deepen.layer_map;
  }
  const int64_t added = deepen.add_layers;
  if (added < 1) {
    complain("deepen.add_layers",
             fmt::format("found {}, expected at least 1", added));
  }
  switch (deepen.preset) {
    case DeepenPreset::kCopyLast:
      return copy_last(L, added);
    case DeepenPreset::kStack:
      return stack(L, added, complain);
    case DeepenPreset::kInterpose:
    case DeepenPreset::kZeroOutput:
      return interpose(L, added);
    case DeepenPreset::kMiddle:
      return middle(L, added, complain);
  }
  ANNULI_CHECK(false, "no layer map of preset {}",
               static_cast<int>(deepen.preset));
  return {};
}

}  // namespace annuli

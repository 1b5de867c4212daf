#include "annuli/grow/axis_rule.h"

#include <string>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"

namespace annuli::grow {
namespace {

bool is_output(Part part) { return part == Part::kO || part == Part::kDown; }

bool is_hidden_matrix(Part part) {
  switch (part) {
    case Part::kQ:
    case Part::kK:
    case Part::kV:
    case Part::kO:
    case Part::kGate:
    case Part::kUp:
    case Part::kDown:
      return true;
    default:
      return false;
  }
}

class Deriver {
 public:
  Deriver(const AxisRule& rule, const Recipe& recipe)
      : rule_(rule),
        recipe_(recipe),
        parent_table_(tensor_table(recipe.parent)),
        tied_parent_(recipe.parent.tie_word_embeddings),
        unties_(tied_parent_ && !recipe.child.tie_word_embeddings) {}

  TensorRecipe tensor(const TensorSpec& child) const {
    TensorRecipe tensor;
    tensor.child = child.name;
    tensor.shape = child.shape();
    tensor.layer = child.layer;
    if (child.part == Part::kRouter && rule_.dense_to_experts) {
      tensor.source = rule_.new_router;
      tensor.router_std =
          rule_.new_router == Source::kRandomRouter ? rule_.router_std : 0;
      tensor.carry_state = false;
      return tensor;
    }
    const TensorSpec& parent = parent_of(child);
    tensor.settings_from = parent.name;
    tensor.carry_state = carries_state(child);
    if (is_new_layer(child) && rule_.zero_new_outputs &&
        is_output(child.part)) {
      tensor.source = Source::kZero;
      return tensor;
    }
    tensor.parent = parent.name;
    map_dimensions(child, parent, tensor);
    set_scales(child, tensor);
    set_noise(child, tensor);
    return tensor;
  }

 private:
  bool is_new_layer(const TensorSpec& child) const {
    return child.layer >= 0 && rule_.layers[child.layer].is_new;
  }

  const TensorSpec& parent_of(const TensorSpec& child) const {
    const Part part = child.part == Part::kHead && tied_parent_
                          ? Part::kEmbedding
                          : child.part;
    const int64_t layer =
        child.layer < 0 ? -1 : rule_.layers[child.layer].parent;
    const int64_t expert = rule_.dense_to_experts ? -1 : child.expert;
    const int64_t row = find_row(parent_table_, part, layer, expert);
    ANNULI_CHECK(row >= 0, "{} has no counterpart in the parent", child.name);
    return parent_table_[row];
  }

  bool carries_state(const TensorSpec& child) const {
    if (is_new_layer(child)) return false;
    if (rule_.dense_to_experts && child.expert >= 0) return false;
    // A tied table's moments are those of the sum of two gradients.
    const bool of_table =
        child.part == Part::kEmbedding || child.part == Part::kHead;
    return !(unties_ && of_table);
  }

  DimensionRecipe dimension(const Dimension& child,
                            const Dimension& parent) const {
    DimensionRecipe result;
    const auto found = rule_.axes.find(child.axis);
    const std::vector<Slice> whole = tile(parent.count, 1);
    const auto& slices = found == rule_.axes.end() ? whole : found->second;
    int64_t total = 0;
    for (const Slice& slice : slices) {
      total += slice.length;
      result.slices.push_back(
          {slice.start * parent.block, slice.length * parent.block});
    }
    ANNULI_CHECK(child.block == parent.block && total == child.count &&
                     total % parent.count == 0,
                 "axis {}: {} steps from {}, expected {}",
                 to_string(child.axis), total, parent.count, child.count);
    result.copies = total / parent.count;
    return result;
  }

  void map_dimensions(const TensorSpec& child, const TensorSpec& parent,
                      TensorRecipe& tensor) const {
    ANNULI_CHECK(child.dimensions.size() == parent.dimensions.size());
    for (size_t i = 0; i < child.dimensions.size(); ++i) {
      DimensionRecipe mapped =
          dimension(child.dimensions[i], parent.dimensions[i]);
      (child.dimensions[i].role == AxisRole::kProduced
           ? tensor.produced_copies
           : tensor.contracted_copies) *= mapped.copies;
      tensor.dimensions.push_back(std::move(mapped));
    }
  }

  void set_scales(const TensorSpec& child, TensorRecipe& tensor) const {
    const double a = static_cast<double>(tensor.produced_copies);
    const double b = static_cast<double>(tensor.contracted_copies);
    tensor.scale = 1 / b;
    if (child.part == Part::kFinalNorm && tied_parent_ && !unties_) {
      tensor.scale = 1 / a;
    }
    // Moving all a b copies by scale * dW moves the function as dW moves the
    // parent's: a b scale G_child = G_parent.
    tensor.gradient_scale = 1 / (a * b * tensor.scale);
    tensor.lr_multiplier = tensor.scale;
    tensor.eps_multiplier = tensor.gradient_scale;
    tensor.weight_decay_multiplier = 1 / tensor.scale;
  }

  void set_noise(const TensorSpec& child, TensorRecipe& tensor) const {
    if (!rule_.noise_snr_db || tensor.contracted_copies < 2) return;
    if (!is_hidden_matrix(child.part)) return;
    tensor.noise = Noise{*rule_.noise_snr_db, stream_id(child.name)};
  }

  const AxisRule& rule_;
  const Recipe& recipe_;
  TensorTable parent_table_;
  bool tied_parent_;
  bool unties_;
};

AxisRule with_layers(AxisRule rule, const Recipe& recipe) {
  if (rule.layers.empty()) {
    for (int64_t l = 0; l < recipe.parent.num_hidden_layers; ++l) {
      rule.layers.push_back({l});
    }
  }
  ANNULI_CHECK(static_cast<int64_t>(rule.layers.size()) ==
               recipe.child.num_hidden_layers);
  return rule;
}

}  // namespace

std::vector<Slice> tile(int64_t size, int64_t copies) {
  return std::vector<Slice>(copies, Slice{0, size});
}

void derive(const AxisRule& partial_rule, Recipe& recipe) {
  const AxisRule rule = with_layers(partial_rule, recipe);
  recipe.layer_map.clear();
  recipe.layer_is_mapped.clear();
  for (const LayerRule& layer : rule.layers) {
    recipe.layer_map.push_back(layer.parent);
    recipe.layer_is_mapped.push_back(!layer.is_new);
  }
  recipe.axes = rule.axes;
  recipe.tensors.clear();
  const Deriver deriver(rule, recipe);
  for (const TensorSpec& spec : tensor_table(recipe.child)) {
    recipe.tensors.push_back(deriver.tensor(spec));
  }
}

}  // namespace annuli::grow

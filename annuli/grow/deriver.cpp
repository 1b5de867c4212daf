#include "annuli/grow/deriver.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/transforms/fill.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/transforms/random_router.h"

namespace annuli::grow {
namespace {

using Kind = PartTraits::Kind;

bool is_gain(const TensorSpec& spec) {
  return traits_of(spec.part).kind == Kind::kGain;
}

bool has_new(const DimensionRecipe& dimension) {
  return std::ranges::any_of(dimension.slices, &Slice::is_new);
}

// New entries of this dimension must not reach an output.
bool must_be_zero(const Dimension& dimension) {
  return dimension.axis == Axis::kResidual
             ? dimension.role == AxisRole::kProduced
             : dimension.role == AxisRole::kContracted;
}

int64_t kept(const std::vector<Slice>& slices) {
  int64_t total = 0;
  for (const Slice& slice : slices) total += slice.is_new() ? 0 : slice.length;
  return total;
}

// Copies of each parent expert, for a parent that is a mixture.
int64_t copies_of_experts(const std::vector<ExpertRule>& experts) {
  if (experts.empty()) return 1;
  std::vector<Slice> slices;
  for (const ExpertRule& expert : experts) slices.push_back({expert.parent, 1});
  return copies_of(slices);
}

}  // namespace

Deriver::Deriver(const AxisRule& rule, const Recipe& recipe)
    : rule_(rule),
      recipe_(recipe),
      parent_table_(tensor_table(recipe.parent)),
      dense_parent_(!recipe.parent.is_mixture()),
      tied_parent_(recipe.parent.tie_word_embeddings),
      unties_(tied_parent_ && !recipe.child.tie_word_embeddings) {
  for (size_t row = 0; row < parent_table_.size(); ++row) {
    const TensorSpec& spec = parent_table_[row];
    parent_row_of_[{spec.part, spec.layer, spec.expert}] = row;
  }
  const auto residual = recipe.axis(Axis::kResidual, recipe.parent.hidden_size);
  residual_copies_ = copies_of(residual);
  filled_ = static_cast<double>(kept(residual)) /
            static_cast<double>(recipe.child.hidden_size);
  if (!dense_parent_) expert_copies_ = copies_of_experts(rule.experts);
  if (!rule.copies_are_closed) open_copies_ = expert_copies_;
}

TensorRecipe Deriver::tensor(const TensorSpec& child) const {
  if (child.part == Part::kRouter && dense_parent_) return new_router(child);
  TensorRecipe tensor;
  tensor.child = child.name;
  tensor.shape = child.shape();
  tensor.layer = child.layer;
  tensor.stream = stream_id("grow/fill/" + child.name);
  tensor.carry_state = carries_state(child);
  const int64_t row = parent_row(child);
  if (row >= 0) tensor.settings_from = parent_table_[row].name;
  if (is_zero(child)) {
    tensor.source = Source::kZero;
    return tensor;
  }
  if (is_new_layer(child) && rule_.random_new_layers) {
    make_fresh(child, tensor);
    return tensor;
  }
  if (child.part == Part::kSelectionBias && row < 0) {
    set_transforms(child, tensor);
    tensor.source = tensor.transforms.empty() ? Source::kZero : Source::kFresh;
    return tensor;
  }
  ANNULI_CHECK(row >= 0, "{} has no counterpart in the parent", child.name);
  tensor.parent = parent_table_[row].name;
  map_dimensions(child, parent_table_[row], tensor);
  set_models(child, tensor);
  set_fill(child, tensor);
  set_scales(child, tensor);
  set_transforms(child, tensor);
  return tensor;
}

bool Deriver::is_new_layer(const TensorSpec& child) const {
  return child.layer >= 0 && rule_.layers[child.layer].is_new;
}

// What must be zero for a layer to add nothing.
bool Deriver::is_output(Part part) const {
  if (recipe_.child.norm_placement == NormPlacement::kPost) {
    return part == Part::kAttentionOutNorm || part == Part::kFeedForwardOutNorm;
  }
  return traits_of(part).writes_residual;
}

bool Deriver::is_zero(const TensorSpec& child) const {
  if (is_new_layer(child) && rule_.zero_new_outputs && is_output(child.part)) {
    return true;
  }
  if (child.expert >= 0 && rule_.zero_routed_outputs &&
      traits_of(child.part).is_down) {
    return true;
  }
  return child.part == Part::kSharedGate && !recipe_.parent.has_shared_expert();
}

int64_t Deriver::parent_row(const TensorSpec& child) const {
  const Part part =
      child.part == Part::kHead && tied_parent_ ? Part::kEmbedding : child.part;
  const int64_t layer = child.layer < 0 ? -1 : rule_.layers[child.layer].parent;
  int64_t expert = child.expert;
  if (from_dense(child)) {
    expert = -1;
  } else if (expert >= 0 && !rule_.experts.empty()) {
    expert = rule_.experts.at(expert).parent;
  }
  const auto found = parent_row_of_.find({part, layer, expert});
  return found == parent_row_of_.end() ? -1
                                       : static_cast<int64_t>(found->second);
}

// An expert, routed or shared, that was the dense feed-forward.
bool Deriver::from_dense(const TensorSpec& child) const {
  return child.expert != -1 && dense_parent_;
}

bool Deriver::carries_state(const TensorSpec& child) const {
  if (!rule_.carry_state || is_new_layer(child)) return false;
  if (child.part == Part::kSharedGate && dense_parent_) return false;
  const bool of_kv_heads = std::ranges::any_of(
      child.dimensions,
      [](const Dimension& d) { return d.axis == Axis::kKvHead; });
  if (of_kv_heads && !rule_.carry_kv_state) return false;
  const bool routed = child.expert >= 0 || child.part == Part::kRouter;
  if (routed && (dense_parent_ || !rule_.carry_expert_state)) return false;
  if (unties_ && child.part == Part::kEmbedding) {
    return rule_.carry_untied_table;
  }
  return !(unties_ && child.part == Part::kHead) || rule_.carry_untied_head;
}

void Deriver::make_fresh(const TensorSpec& child, TensorRecipe& tensor) const {
  const FirstValues values = first_values(child);
  if (values == FirstValues::kZero) {
    tensor.source = Source::kZero;
    return;
  }
  tensor.source = Source::kFresh;
  tensor.stream = stream_id("grow/fresh/" + child.name);
  tensor.set(std::make_shared<Fresh>(
      values,
      values == FirstValues::kNormal ? recipe_.child.initializer_range : 0));
}

TensorRecipe Deriver::new_router(const TensorSpec& child) const {
  TensorRecipe tensor;
  tensor.child = child.name;
  tensor.shape = child.shape();
  tensor.layer = rule_.layers[child.layer].parent;
  tensor.carry_state = false;
  tensor.source = rule_.router.source;
  if (tensor.source != Source::kRandomRouter) return tensor;
  tensor.set(std::make_shared<RandomRouter>(
      rule_.router.std, rule_.router.needs_mean, rule_.router.centroids));
  tensor.stream = stream_id("grow/router/" + child.name);
  if (rule_.router.rows.empty()) return tensor;

  // Drawn with a row per group, then each row for every expert of its group.
  TensorRecipe drawn = tensor;
  drawn.shape[0] = rule_.router.rows.back().start + 1;
  TensorRecipe shared = tensor;
  shared.source = Source::kParent;
  shared.dimensions = {{rule_.router.rows, copies_of(rule_.router.rows)},
                       {{{0, tensor.shape[1]}}, 1}};
  shared.row_copies = tensor.row_copies = shared.dimensions[0].copies;
  tensor.dimensions = shared.dimensions;
  tensor.steps = {drawn, shared};
  return tensor;
}

std::vector<Slice> Deriver::slices(const TensorSpec& child,
                                   const Dimension& dimension,
                                   int64_t parent_count) const {
  if (dimension.axis == Axis::kFfn && child.expert >= 0 &&
      !rule_.experts.empty() && !rule_.experts[child.expert].ffn.empty()) {
    return rule_.experts[child.expert].ffn;
  }
  const auto found = rule_.axes.find(dimension.axis);
  return found == rule_.axes.end() ? tile(parent_count, 1) : found->second;
}

void Deriver::map_dimensions(const TensorSpec& child, const TensorSpec& parent,
                             TensorRecipe& tensor) const {
  ANNULI_CHECK(child.dimensions.size() == parent.dimensions.size(),
               "{} has {} dimensions, {} of the parent has {}", child.name,
               child.dimensions.size(), parent.name, parent.dimensions.size());
  for (size_t i = 0; i < child.dimensions.size(); ++i) {
    const Dimension& to = child.dimensions[i];
    const Dimension& from = parent.dimensions[i];
    DimensionRecipe mapped;
    int64_t total = 0;
    for (const Slice& slice : slices(child, to, from.count)) {
      total += slice.length;
      mapped.slices.push_back({slice.is_new() ? kNew : slice.start * from.block,
                               slice.length * from.block});
      ANNULI_CHECK(slice.start + slice.length <= from.count,
                   "{} reads entries {} to {} of {}, which has {}", child.name,
                   slice.start, slice.start + slice.length, parent.name,
                   from.count);
    }
    ANNULI_CHECK(to.block == from.block && total == to.count,
                 "{}, axis {}: {} steps, expected {}", child.name,
                 to_string(to.axis), total, to.count);
    mapped.copies = copies_of(mapped.slices);
    (to.role == AxisRole::kProduced ? tensor.produced_copies
                                    : tensor.contracted_copies) *=
        mapped.copies;
    tensor.dimensions.push_back(std::move(mapped));
  }
  if (child.is_matrix()) {
    tensor.row_copies = tensor.dimensions[0].copies;
    tensor.column_copies = tensor.dimensions[1].copies;
  }
  if (child.expert >= 0) tensor.produced_copies *= open_copies_;
  if (child.part == Part::kRouter) {
    tensor.produced_copies *= open_copies_;
    tensor.produced_copies /= expert_copies_;
  }
}

void Deriver::set_models(const TensorSpec& child, TensorRecipe& tensor) const {
  if (rule_.models == 1) return;
  if (child.expert >= 0) {
    tensor.models = {rule_.experts.at(child.expert).model};
  } else {
    tensor.models.resize(rule_.models);
    std::iota(tensor.models.begin(), tensor.models.end(), 0);
  }
}

void Deriver::set_fill(const TensorSpec& child, TensorRecipe& tensor) const {
  bool any = false;
  bool zero = is_bias(child.part);
  for (size_t i = 0; i < tensor.dimensions.size(); ++i) {
    if (!has_new(tensor.dimensions[i])) continue;
    any = true;
    zero = zero || must_be_zero(child.dimensions[i]);
  }
  if (!any) return;
  if (is_gain(child)) {
    tensor.set(std::make_shared<Fill>(Fill::Value::kOne));
  } else if (!zero) {
    tensor.set(std::make_shared<Fill>(Fill::Value::kNormal,
                                      recipe_.child.initializer_range));
  }
}

double Deriver::special_scale(const TensorSpec& child) const {
  double scale = 1;
  const bool of_residual =
      is_gain(child) && child.dimensions[0].axis == Axis::kResidual;
  const bool normalised = recipe_.child.qk_norm != QkNorm::kNone &&
                          traits_of(child.part).feeds_qk_norm;
  if (of_residual || normalised) scale *= std::sqrt(filled_);
  if (traits_of(child.part).is_final_norm && tied_parent_ && !unties_) {
    scale *= recipe_.parent.logit_multiplier /
             (recipe_.child.logit_multiplier *
              static_cast<double>(residual_copies_));
  }
  if (child.expert >= 0) {
    const bool up = child.part == Part::kUp || child.part == Part::kUpBias;
    if (up) scale *= rule_.up_scale;
    if (child.part == Part::kDown) scale *= rule_.down_scale;
  }
  const bool new_shared = child.expert == kSharedExpert && dense_parent_;
  if (new_shared && traits_of(child.part).is_down) scale *= 2;
  return scale;
}

// Experts are chosen by p + b, and copies of all of them divide each p.
void Deriver::set_scales(const TensorSpec& child, TensorRecipe& tensor) const {
  if (child.part == Part::kSelectionBias) {
    tensor.scale = 1 / static_cast<double>(expert_copies_);
    return;
  }
  const auto a = static_cast<double>(tensor.produced_copies);
  const auto b = static_cast<double>(tensor.contracted_copies);
  tensor.scale = special_scale(child) / b;
  // Moving all a b copies by scale * dW moves the function as dW moves the
  // parent's: a b scale G_child = G_parent.
  tensor.gradient_scale = 1 / (a * b * tensor.scale);
  tensor.lr_multiplier = tensor.scale;
  tensor.eps_multiplier = tensor.gradient_scale;
  tensor.weight_decay_multiplier = 1 / tensor.scale;
}

void Deriver::set_transforms(const TensorSpec& child,
                             TensorRecipe& tensor) const {
  for (const TransformRule& rule : rule_.transforms) {
    if (TransformPtr made = rule(child, tensor)) tensor.set(std::move(made));
  }
  tensor.carry_state =
      tensor.carry_state &&
      std::ranges::all_of(tensor.transforms, [](const TransformPtr& transform) {
        return transform->carries_state();
      });
}

TransformRule cancelling_noise(double snr_db) {
  return [snr_db](const TensorSpec& child,
                  const TensorRecipe& line) -> TransformPtr {
    if (line.contracted_copies < 2 || !traits_of(child.part).takes_noise) {
      return nullptr;
    }
    return std::make_shared<Noise>(snr_db, stream_id(child.name));
  };
}

}  // namespace annuli::grow

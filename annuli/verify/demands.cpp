#include "annuli/verify/demands.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cmath>

#include "annuli/core/error.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {
namespace {

// Half of the distance from 1 to the next number.
double unit_roundoff(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return 0x1p-53;
    case at::kFloat:
      return 0x1p-24;
    case at::kHalf:
      return 0x1p-11;
    case at::kBFloat16:
      return 0x1p-8;
    default:
      ANNULI_CHECK(false, "weights of type {}", c10::toString(dtype));
      return 0;
  }
}

// Every number of type `from` is one of type `to`.
bool holds(at::ScalarType to, at::ScalarType from) {
  if (to == from || to == at::kDouble) return true;
  return to == at::kFloat && from != at::kDouble;
}

bool is_residual_gain(Part part) {
  switch (part) {
    case Part::kInputNorm:
    case Part::kAttentionOutNorm:
    case Part::kPostNorm:
    case Part::kFeedForwardOutNorm:
    case Part::kFinalNorm:
      return true;
    default:
      return false;
  }
}

// A projection whose output is normalised, and its bias.
bool feeds_qk_norm(Part part) {
  return part == Part::kQ || part == Part::kQBias || part == Part::kK ||
         part == Part::kKBias;
}

double stated_factor(const grow::TensorRecipe& tensor) {
  return tensor.scale * static_cast<double>(tensor.contracted_copies);
}

}  // namespace

Demands::Demands(const grow::Recipe& recipe)
    : recipe_(recipe),
      table_(tensor_table(recipe.child)),
      residual_share_(axis_growth(recipe, Axis::kResidual).kept_share()),
      shards_(static_cast<double>(shards_of(recipe))) {
  if (shards_ == 1 || !recipe.child.gated) return;
  const size_t rows = std::min(table_.size(), recipe.tensors.size());
  for (size_t row = 0; row < rows; ++row) {
    if (table_[row].part != Part::kUp) continue;
    // Nearer to sqrt(G) than to 1: that is how the two are told apart, not what
    // is demanded.
    up_takes_its_part_ |=
        stated_factor(recipe.tensors[row]) > std::sqrt(std::sqrt(shards_));
  }
}

double Demands::fold() const {
  if (!recipe_.parent.tie_word_embeddings ||
      !recipe_.child.tie_word_embeddings) {
    return 1;
  }
  return recipe_.parent.logit_multiplier /
         (recipe_.child.logit_multiplier *
          axis_growth(recipe_, Axis::kResidual).copies());
}

double Demands::of_expert(const TensorSpec& spec) const {
  const bool down = spec.part == Part::kDown;
  if (spec.expert == kSharedExpert) {
    return down || spec.part == Part::kDownBias ? 2 : 1;
  }
  if (!up_takes_its_part_) return down ? shards_ : 1;
  const bool up = spec.part == Part::kUp || spec.part == Part::kUpBias;
  return down || up ? std::sqrt(shards_) : 1;
}

double Demands::factor(size_t row) const {
  const TensorSpec& spec = table_.at(row);
  double factor = 1;
  const bool normalised =
      recipe_.child.qk_norm != QkNorm::kNone && feeds_qk_norm(spec.part);
  if (is_residual_gain(spec.part) || normalised) {
    factor *= std::sqrt(residual_share_);
  }
  if (spec.part == Part::kFinalNorm || spec.part == Part::kFinalNormBias) {
    factor *= fold();
  }
  if (is_upcycle(recipe_) && spec.expert != -1) factor *= of_expert(spec);
  return factor;
}

double Demands::entry_factor(size_t row) const {
  return factor(row) /
         static_cast<double>(recipe_.tensors.at(row).contracted_copies);
}

bool Demands::new_entries_are_zero(size_t row, size_t dimension) const {
  if (!recipe_.exact) return false;
  const TensorSpec& spec = table_.at(row);
  const Dimension& d = spec.dimensions.at(dimension);
  if (d.axis == Axis::kResidual) {
    return d.role == AxisRole::kProduced && !is_residual_gain(spec.part);
  }
  return d.role == AxisRole::kContracted &&
         (d.axis == Axis::kHead || d.axis == Axis::kFfn ||
          d.axis == Axis::kSharedFfn);
}

double entry_roundoff(double factor, at::ScalarType parent,
                      at::ScalarType child) {
  const bool subnormal = factor != 1 && child == at::kHalf;
  const bool exact =
      holds(child, parent) && grow::is_power_of_two(factor) && !subnormal;
  return exact ? 0 : unit_roundoff(child);
}

}  // namespace annuli::verify

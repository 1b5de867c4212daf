#include "annuli/grow/optimizer_state.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/parent_rows.h"
#include "annuli/grow/state_mover.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/quantize/block_quantization.h"

namespace annuli::grow {
namespace {

using kernels::Codes;

constexpr int64_t kPieceEntries = int64_t{1} << 20;

void set_multipliers(const TensorRecipe& tensor, const TensorState* parent,
                     Dynamics dynamics, TensorState& child) {
  if (parent != nullptr) {
    child.lr_multiplier = parent->lr_multiplier;
    child.eps_multiplier = parent->eps_multiplier;
    child.weight_decay_multiplier = parent->weight_decay_multiplier;
    child.row_copies = parent->row_copies;
    child.column_copies = parent->column_copies;
  }
  if (dynamics != Dynamics::kExact) return;
  child.lr_multiplier *= tensor.lr_multiplier;
  child.eps_multiplier *= tensor.eps_multiplier;
  child.weight_decay_multiplier *= tensor.weight_decay_multiplier;
  child.row_copies *= tensor.row_copies;
  child.column_copies *= tensor.column_copies;
}

// Rows that make whole blocks of codes.
int64_t rows_of_piece(int64_t columns) {
  const int64_t least =
      kernels::kQuantizedBlock / std::gcd(columns, kernels::kQuantizedBlock);
  return std::max<int64_t>(1, kPieceEntries / (columns * least)) * least;
}

// Widened once, grown and coded piece by piece, on the host.
void carry_codes(const TensorRecipe& recipe, const at::Tensor& codes,
                 const at::Tensor& scales, Codes kind, at::Tensor& child,
                 at::Tensor& child_scales) {
  const RowMaker maker(recipe,
                       kernels::dequantize(codes.cpu(), scales.cpu(), kind), 0,
                       at::kFloat);
  const int64_t columns = recipe.shape.back();
  child = kernels::owned_empty(recipe.shape, at::kByte);
  child_scales = kernels::owned_empty(
      {kernels::quantized_blocks(maker.rows() * columns)}, at::kFloat);
  const int64_t step = std::min(rows_of_piece(columns), maker.rows());
  at::Tensor piece = kernels::owned_empty({step, columns}, at::kFloat);
  for (int64_t row = 0; row < maker.rows(); row += step) {
    const int64_t rows = std::min(step, maker.rows() - row);
    maker.make(row, row + rows, piece.data_ptr());
    const kernels::Quantized coded =
        kernels::quantize(piece.narrow(0, 0, rows), kind);
    child.view({maker.rows(), columns}).narrow(0, row, rows).copy_(coded.codes);
    child_scales
        .narrow(0, row * columns / kernels::kQuantizedBlock,
                coded.scales.numel())
        .copy_(coded.scales);
  }
  child = child.to(codes.device());
  child_scales = child_scales.to(codes.device());
}

// A moment follows the gradient to the `power`.
void carry_moment(const TensorRecipe& tensor, int power, Codes kind,
                  const at::Tensor& moment, const at::Tensor& scales,
                  at::Tensor& child, at::Tensor& child_scales) {
  if (!moment.defined()) return;
  const TensorRecipe recipe = moment_recipe(tensor, power);
  if (scales.defined()) {
    carry_codes(recipe, moment, scales, kind, child, child_scales);
  } else {
    child = apply(recipe, moment, 0, moment.scalar_type()).to(moment.device());
  }
}

// The factor of one dimension: its slices alone.
at::Tensor tiled_factor(const TensorRecipe& step, size_t dimension,
                        const at::Tensor& factor) {
  TensorRecipe vector;
  vector.child = step.child;
  vector.shape = {step.shape[dimension]};
  vector.dimensions = {step.dimensions[dimension]};
  return apply(vector, factor, 0, factor.scalar_type()).to(factor.device());
}

double mean(const at::Tensor& values) {
  return values.to(at::kDouble).mean().item<double>();
}

// v = R C^T / mean(R), R and C its row and column means. The child's v is
// tile(v) s^2, whose row means are tile(R) s^2 times what the mean of C has
// become, and alike for C.
void carry_factors(const TensorRecipe& step, at::Tensor& rows,
                   at::Tensor& columns) {
  const double scale = step.gradient_scale * step.gradient_scale;
  const at::Tensor tiled_rows = tiled_factor(step, 0, rows);
  const at::Tensor tiled_columns = tiled_factor(step, 1, columns);
  const auto change = [](const at::Tensor& after, const at::Tensor& before) {
    const double was = mean(before);
    return was > 0 ? mean(after) / was : 1;
  };
  const double of_columns = change(tiled_columns, columns);
  const double of_rows = change(tiled_rows, rows);
  rows = tiled_rows.mul(scale * of_columns);
  columns = tiled_columns.mul(scale * of_rows);
}

// All but the multipliers.
TensorState taken(const TensorState& parent) {
  TensorState child = parent;
  child.lr_multiplier = child.eps_multiplier = child.weight_decay_multiplier =
      1;
  child.row_copies = child.column_copies = 1;
  return child;
}

// One child row after the other.
class Carrier {
 public:
  Carrier(const Recipe& recipe, std::vector<TensorState>& parent,
          const StateGrowth& growth)
      : rows_(recipe), parent_(parent), growth_(growth) {
    ANNULI_CHECK(parent.size() == rows_.size(), "{} states for {} tensors",
                 parent.size(), rows_.size());
    for (const size_t row : rows_.unused()) release_parts(parent[row]);
    if (growth.owners != nullptr) mover_.emplace(parent, *growth.owners);
  }

  TensorState carry(const TensorRecipe& tensor, size_t child_row) {
    TensorState child = child_parts(tensor, child_row);
    const TensorState* settings =
        tensor.settings_from.empty()
            ? nullptr
            : &parent_[rows_.row(tensor.settings_from)];
    set_multipliers(tensor, settings, growth_.dynamics, child);
    return child;
  }

 private:
  TensorState child_parts(const TensorRecipe& tensor, size_t child_row) {
    if (tensor.source != Source::kParent) return {};
    const size_t row = rows_.row(tensor.parent);
    const bool of_first = std::ranges::count(tensor.models, 0) > 0;
    const bool last = of_first && rows_.use(row);
    TensorState child;
    if (tensor.carry_state && growth_.optimizer == OptimizerState::kCarry) {
      child = carried(tensor, row, child_row, last);
    }
    if (last) release_parts(parent_[row]);
    return child;
  }

  TensorState carried(const TensorRecipe& tensor, size_t row, size_t child_row,
                      bool last) {
    const bool same = tensor.is_identity() && tensor.gradient_scale == 1;
    if (!mover_) {
      return last && same ? taken(parent_[row])
                          : carried_state(tensor, parent_[row]);
    }
    const TensorState here = mover_->moved(row, child_row);
    if (!mover_->makes(child_row)) return {.step = here.step};
    return same && (last || mover_->was_sent(row, child_row))
               ? taken(here)
               : carried_state(tensor, here);
  }

  ParentRows rows_;
  std::vector<TensorState>& parent_;
  const StateGrowth& growth_;
  std::optional<StateMover> mover_;
};

}  // namespace

TensorState carried_state(const TensorRecipe& tensor,
                          const TensorState& parent) {
  TensorState child;
  child.step = parent.step;
  carry_moment(tensor, 1, Codes::kSigned, parent.m, parent.m_scales, child.m,
               child.m_scales);
  carry_moment(tensor, 2, Codes::kUnsigned, parent.v, parent.v_scales, child.v,
               child.v_scales);
  if (parent.v_rows.defined()) {
    child.v_rows = parent.v_rows;
    child.v_columns = parent.v_columns;
    for (const TensorRecipe& step : tensor.steps) {
      carry_factors(step, child.v_rows, child.v_columns);
    }
    if (tensor.steps.empty()) {
      carry_factors(tensor, child.v_rows, child.v_columns);
    }
  }
  return child;
}

std::vector<TensorState> grow_state(const Recipe& recipe,
                                    std::vector<TensorState>&& parent,
                                    const StateGrowth& growth) {
  Carrier carrier(recipe, parent, growth);
  std::vector<TensorState> child;
  child.reserve(recipe.tensors.size());
  for (const TensorRecipe& tensor : recipe.tensors) {
    child.push_back(carrier.carry(tensor, child.size()));
  }
  return child;
}

}  // namespace annuli::grow

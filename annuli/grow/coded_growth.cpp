#include "annuli/grow/coded_growth.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/transforms/fill.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/kernels/quantize/weight_codes.h"
#include "annuli/model/stored_type.h"

namespace annuli::grow {
namespace {

// Whether a block of the child has entries of two blocks of the parent's rows.
bool mixes_blocks(const TensorRecipe& line, int64_t parent_columns) {
  if (line.dimensions.size() != 2) return false;
  const int64_t block = kernels::code_block(line.shape.back());
  const int64_t parent_block = kernels::code_block(parent_columns);
  int64_t at = 0;
  int64_t from = kNew;
  for (const Slice& slice : line.dimensions.back().slices) {
    for (int64_t i = 0; i < slice.length; ++i, ++at) {
      if (at % block == 0) from = kNew;
      if (slice.is_new()) continue;
      const int64_t source = (slice.start + i) / parent_block;
      if (from != kNew && from != source) return true;
      from = source;
    }
  }
  return false;
}

// Empty if codes hold what the line makes; of a chain one step's.
std::string fault_of(const TensorRecipe& line, int64_t parent_columns) {
  for (const TransformPtr& transform : line.transforms) {
    const bool is_held = dynamic_cast<const Noise*>(transform.get()) ||
                         dynamic_cast<const Fill*>(transform.get()) ||
                         dynamic_cast<const Fresh*>(transform.get());
    if (!is_held) return transform->in_words();
  }
  if (line.source != Source::kParent) return "";
  if (line.models.size() > 1) return "a mean of several models";
  if (storage_breaks_exactness(line, at::kBFloat16)) {
    return fmt::format("the factor {:.4g}", line.scale);
  }
  if (mixes_blocks(line, parent_columns)) {
    return "entries of two of the parent's blocks in one";
  }
  return "";
}

std::string fault_of_steps(const TensorRecipe& line, int64_t parent_columns) {
  if (line.steps.empty()) return fault_of(line, parent_columns);
  int64_t columns = parent_columns;
  for (const TensorRecipe& step : line.steps) {
    if (auto fault = fault_of(step, columns); !fault.empty()) return fault;
    columns = step.shape.back();
  }
  return "";
}

}  // namespace

void hold_as_codes(Recipe& recipe) {
  std::unordered_map<std::string, int64_t> columns;
  for (const TensorSpec& spec : tensor_table(recipe.parent)) {
    columns[spec.name] = spec.shape().back();
  }
  const TensorTable table = tensor_table(recipe.child);
  for (size_t row = 0; row < table.size(); ++row) {
    if (!is_coded(table[row])) continue;
    TensorRecipe& line = recipe.tensors.at(row);
    const auto parent = columns.find(line.parent);
    const std::string fault =
        fault_of_steps(line, parent == columns.end() ? 0 : parent->second);
    if (!fault.empty()) {
      user_error(
          "growing by {}: {} would have {}, which codes of 8 bits do not hold "
          "to the last bit; expected copies, zeros, new layers, noise and "
          "factors that are powers of two; try precision: bf16",
          recipe.op, line.child, fault);
    }
    line.coded = true;
    for (TensorRecipe& step : line.steps) step.coded = true;
  }
}

Recipe recipe_of(const GrowPlan& plan, const ModelConfig& parent, uint64_t seed,
                 const NumberTypes& numbers) {
  Recipe recipe = make_operator(plan)->recipe(parent, seed);
  if (numbers.coded) hold_as_codes(recipe);
  return recipe;
}

}  // namespace annuli::grow

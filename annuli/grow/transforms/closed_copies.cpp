#include "annuli/grow/transforms/closed_copies.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/recipe.h"
#include "annuli/grow/row_source.h"

namespace annuli::grow {

std::string ClosedCopies::in_words() const {
  return fmt::format("copies closed, {:.4g} below the least", gap);
}

RowSourcePtr ClosedCopies::on_rows(RowSourcePtr rows,
                                   const RowContext& context) const {
  const TensorRecipe& line = context.line;
  ANNULI_CHECK(line.shape.size() == 1 && 0 < first && first < line.shape[0],
               "closing the entries from {} on of {}", first, line.child);
  at::Tensor biases = whole(*rows, line, context.dtype);
  const double least = biases.narrow(0, 0, first).min().item<double>();
  biases.narrow(0, first, line.shape[0] - first).fill_(least - gap);
  return held_source(biases);
}

// They compute what they did.
bool ClosedCopies::changes_layer(const TensorRecipe& line) const {
  return false;
}

void ClosedCopies::write(const ClosedCopies* stated, Json& line) {
  if (stated == nullptr) return;
  line["closed"] = {{"first", stated->first}, {"gap", stated->gap}};
}

TransformPtr ClosedCopies::read(const Json& line) {
  if (!line.contains("closed")) return nullptr;
  const Json& closed = line.at("closed");
  return std::make_shared<ClosedCopies>(closed.at("first").get<int64_t>(),
                                        closed.at("gap").get<double>());
}

// Step by step: what a later step lays out was closed before, or is.
std::vector<bool> closed_experts(const TensorRecipe& line) {
  const std::vector<TensorRecipe> steps =
      line.steps.empty() ? std::vector{line} : line.steps;
  std::vector<bool> closed;
  for (const TensorRecipe& step : steps) {
    std::vector<bool> before = std::move(closed);
    closed.assign(static_cast<size_t>(step.shape.at(0)), false);
    size_t entry = 0;
    if (!step.dimensions.empty() && !before.empty()) {
      for (const Slice& slice : step.dimensions[0].slices) {
        for (int64_t i = 0; i < slice.length; ++i, ++entry) {
          closed[entry] =
              !slice.is_new() && before[static_cast<size_t>(slice.start + i)];
        }
      }
    }
    const auto* closing = step.find<ClosedCopies>();
    if (closing == nullptr) continue;
    for (auto e = static_cast<size_t>(closing->first); e < closed.size(); ++e) {
      closed[e] = true;
    }
  }
  const bool any = std::ranges::count(closed, true) > 0;
  return any ? closed : std::vector<bool>();
}

}  // namespace annuli::grow

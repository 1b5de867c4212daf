#include "annuli/verify/unit_sums.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_fill.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <set>
#include <utility>
#include <vector>

#include "annuli/verify/axis_layout.h"
#include "annuli/verify/drawn_anew.h"
#include "annuli/verify/random_product.h"

namespace annuli::verify {
namespace {

// l for every copy of the rows, 0 where a row is of another copy or new:
// [P', copies].
at::Tensor rows_input(const Demanded& demanded, const at::Tensor& l) {
  const grow::DimensionRecipe& rows = demanded.recipe.dimensions.at(0);
  const auto from = sources(rows.slices);
  at::Tensor input =
      at::zeros({static_cast<int64_t>(from.size()), rows.copies}, at::kDouble);
  auto into = input.accessor<double, 2>();
  const auto at = l.accessor<double, 1>();
  std::vector<int64_t> seen(l.size(0));
  for (size_t row = 0; row < from.size(); ++row) {
    if (from[row] == grow::kNew) continue;
    into[static_cast<int64_t>(row)][seen[from[row]]++] = at[from[row]];
  }
  return input;
}

// The child's entries that are units of the parent, and which.
std::pair<at::Tensor, at::Tensor> held_units(
    const std::vector<int64_t>& units) {
  std::vector<int64_t> entries;
  std::vector<int64_t> held;
  for (size_t i = 0; i < units.size(); ++i) {
    if (units[i] == grow::kNew) continue;
    entries.push_back(static_cast<int64_t>(i));
    held.push_back(units[i]);
  }
  return {at::tensor(entries), at::tensor(held)};
}

}  // namespace

void UnitSums::add(const Sketch& parent, const Demanded& demanded,
                   const at::Tensor& child) {
  const at::Tensor l = random_input(rows_name(parent.name),
                                    demanded.parent.dimensions[0].size());
  const at::Tensor per_entry =
      product(child.detach(), 0, rows_input(demanded, l));  // [C', copies]
  const auto [entries, held] =
      held_units(sources(demanded.recipe.dimensions.at(1).slices));
  if (empty()) {
    found_ =
        at::zeros({parent.by_unit.size(0), per_entry.size(1)}, at::kDouble);
    held_ = at::zeros({parent.by_unit.size(0), 1}, at::kDouble);
    expected_ = at::zeros_like(held_);
  }
  found_.index_add_(0, held, per_entry.index_select(0, entries));
  at::Tensor is_held = at::zeros_like(held_);
  is_held.index_fill_(0, held, 1);
  const double share = demanded.factor * held_share(demanded, 1);
  expected_ += share * is_held * parent.by_unit.unsqueeze(1);
  held_ = at::maximum(held_, is_held);
  const at::Tensor drawn = drawn_anew(demanded.recipe, 1, demanded.seed);
  if (!drawn.defined()) return;
  if (!drawn_.defined()) drawn_ = at::zeros_like(held_);
  at::Tensor is_drawn = at::zeros_like(held_);
  is_drawn.index_add_(0, held, drawn.index_select(0, entries).unsqueeze(1));
  drawn_ = at::maximum(drawn_, (is_drawn > 0).to(at::kDouble));
}

SketchDistance UnitSums::distance() const {
  const at::Tensor units = held_.flatten().nonzero().flatten();
  const auto of_held = [&](const at::Tensor& x) {
    return x.index_select(0, units);
  };
  const at::Tensor expected = of_held(expected_).expand({-1, found_.size(1)});
  const at::Tensor difference = of_held(found_) - expected;
  if (!drawn_.defined()) return {against_rms(difference, expected)};
  const at::Tensor drawn = of_held(drawn_);
  return {against_rms(difference * (1 - drawn), expected),
          against_rms(difference * drawn, expected)};
}

std::string rows_name(const std::string& name) { return name + "/rows"; }

double held_share(const Demanded& demanded, int64_t contracted) {
  if (demanded.child.dimensions[contracted].role != AxisRole::kContracted) {
    return 1;
  }
  return static_cast<double>(demanded.recipe.dimensions[contracted].copies) /
         static_cast<double>(demanded.recipe.contracted_copies);
}

bool lacks_units(const Demanded& demanded, int64_t contracted) {
  if (drawn_anew(demanded.recipe, contracted, demanded.seed).defined()) {
    return true;
  }
  const auto units = sources(demanded.recipe.dimensions.at(contracted).slices);
  std::set<int64_t> held(units.begin(), units.end());
  held.erase(grow::kNew);
  return static_cast<int64_t>(held.size()) <
         demanded.parent.dimensions[contracted].size();
}

}  // namespace annuli::verify

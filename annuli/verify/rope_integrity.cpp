#include "annuli/verify/rope_integrity.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>

#include <cstdlib>
#include <utility>

#include "annuli/verify/axis_layout.h"
#include "annuli/verify/tensor_audit.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "rope_integrity";

// ||a - b|| / ||a|| of each head, [H]; both are [1, T, H, head_dim]. Heads that
// no parent has (all zero in a) count as equal.
at::Tensor head_errors(const at::Tensor& parent, const at::Tensor& child,
                       const at::Tensor& is_new) {
  const at::Tensor a = parent.to(at::kDouble);
  const at::Tensor b = child.to(at::kDouble);
  const at::Tensor errors = (a - b).norm(2, {0, 1, 3}) / a.norm(2, {0, 1, 3});
  return errors.masked_fill(is_new, 0);
}

// Which heads of the child no parent has, [H] bool.
at::Tensor new_heads(const grow::Recipe& recipe, Axis axis, int64_t heads) {
  at::Tensor is_new = at::zeros({heads}, at::kBool);
  const auto found = recipe.axes.find(axis);
  if (found == recipe.axes.end()) return is_new;
  const std::vector<int64_t> from = sources(found->second);
  for (int64_t h = 0; h < heads; ++h) {
    if (from.at(h) == grow::kNew) is_new[h] = true;
  }
  return is_new;
}

}  // namespace

// q and k are as exact as the function itself.
RopeIntegrity::RopeIntegrity(const grow::Recipe& recipe, Precision precision)
    : recipe_(recipe),
      limit_(identity_limit(recipe, {at::kFloat, precision.storage_roundoff})) {
}

void RopeIntegrity::Worst::see(const at::Tensor& errors, const Place& at,
                               double limit) {
  for (int64_t h = 0; h < errors.size(0); ++h) {
    const double e = errors[h].item<double>();
    note(e, e <= limit ? Place() : Place{at.layer, at.window, h});
  }
}

void RopeIntegrity::Worst::note(double other_error, const Place& place) {
  error = worse(error, other_error);
  if (place.layer >= 0 && (first.layer < 0 || place < first)) first = place;
}

std::vector<double> RopeIntegrity::seen() const {
  std::vector<double> numbers;
  for (const Worst* worst : {&q_, &k_}) {
    const auto& [layer, window, head] = worst->first;
    numbers.insert(numbers.end(),
                   {worst->error, static_cast<double>(layer),
                    static_cast<double>(window), static_cast<double>(head)});
  }
  return numbers;
}

void RopeIntegrity::add_seen(const std::vector<double>& other) {
  const auto place = [&](size_t begin) {
    return Place{static_cast<int64_t>(other[begin]),
                 static_cast<int64_t>(other[begin + 1]),
                 static_cast<int64_t>(other[begin + 2])};
  };
  q_.note(other[0], place(1));
  k_.note(other[4], place(5));
}

Verdict RopeIntegrity::verdict(const Worst& worst, const char* what,
                               Part part) const {
  Verdict verdict = at_most(
      kCheck, fmt::format("{} after RoPE, every head and position", what),
      worst.error, limit_);
  if (worst.first.layer >= 0) {
    const TensorTable table = tensor_table(recipe_.child);
    verdict.layer = worst.first.layer;
    const Part of = recipe_.child.fused_qkv ? Part::kQkv : part;
    verdict.tensor = table[find_row(table, of, verdict.layer)].name;
    verdict.note = fmt::format("head {}", worst.first.head);
  }
  return verdict;
}

void RopeIntegrity::see(Worst& worst, Axis axis, const at::Tensor& parent,
                        const at::Tensor& child, const LayerView& view) const {
  const at::Tensor expected = lay_out(parent, 2, recipe_, axis);
  worst.see(
      head_errors(expected, child, new_heads(recipe_, axis, child.size(2))),
      {view.layers.child, view.window}, limit_);
}

void RopeIntegrity::see(const LayerView& view) {
  // Heads of another width have nothing to be compared with.
  if (recipe_.parent.head_dim != recipe_.child.head_dim) return;
  see(q_, Axis::kHead, view.parent.q, view.child.q, view);
  see(k_, Axis::kKvHead, view.parent.k, view.child.k, view);
}

std::vector<Verdict> RopeIntegrity::verdicts() const {
  const int64_t before = recipe_.parent.head_dim;
  const int64_t change = std::abs(recipe_.child.head_dim - before);
  std::vector<Verdict> verdicts = {
      at_most(kCheck, fmt::format("change of head_dim {}", before),
              static_cast<double>(change), 0)};
  if (change != 0) return verdicts;
  verdicts.push_back(verdict(q_, "q", Part::kQ));
  verdicts.push_back(verdict(k_, "k", Part::kK));
  // A k that is wrong makes the next layer's q wrong: the cause comes first.
  const int64_t q = q_.first.layer;
  const int64_t k = k_.first.layer;
  const bool k_is_first = k >= 0 && (q < 0 || k < q);
  if (k_is_first) std::swap(verdicts[1], verdicts[2]);
  return verdicts;
}

std::vector<Verdict> rope_integrity(const ParentRecord& parent,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    const Transformer& child) {
  RopeIntegrity check(recipe, {child.dtype(), storage_roundoff(parent.sketches,
                                                               recipe, child)});
  run_window_checks(parent, recipe, probe, child, Dispatch::kSorted, {&check});
  return check.verdicts();
}

}  // namespace annuli::verify

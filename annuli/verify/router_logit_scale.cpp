#include "annuli/verify/router_logit_scale.h"

#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "annuli/verify/axis_layout.h"
#include "annuli/verify/functional_identity.h"
#include "annuli/verify/tensor_audit.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "router_logit_scale";

// A logit is a dot product of D terms of size |w| |x|, rounded to about
// sqrt(D) eps of them in fp32. The mean of x carries up to 0.999 of |x| and is
// projected out of the rows, so the spread is that much smaller than |w| |x|:
// 4e-6 * 50 = 2e-4. A router that is not divided by n is off by n - 1.
constexpr double kLimit = 1e-3;
constexpr double kSizeOverSpread = 50;
// However coarse the storage: a router that is not divided must be seen.
constexpr double kLargestLimit = 0.5;

// True where the chosen sets differ, [N].
at::Tensor sets_differ(const at::Tensor& a, const at::Tensor& b) {
  return std::get<0>(at::sort(a, 1)).ne(std::get<0>(at::sort(b, 1))).any(1);
}

// Mean over tokens of the deviation over experts.
double spread_of(const at::Tensor& logits) {
  return logits.std(1).mean().item<double>();
}

}  // namespace

// What storing has rounded reaches the router's input as it reaches the logits.
double router_limit(const grow::Recipe& recipe, double storage_roundoff) {
  if (storage_roundoff == 0) return kLimit;
  const double moved = identity_limit(recipe, {at::kDouble, storage_roundoff});
  return std::clamp(kSizeOverSpread * moved, kLimit, kLargestLimit);
}

Choices compare_choices(const at::Tensor& before, const at::Tensor& after,
                        int64_t k, double limit) {
  const int64_t kept = std::min(k + 1, before.size(1));
  const auto [values, experts] = at::topk(before, kept, 1);
  const auto chosen = std::get<1>(at::topk(after, k, 1));
  Choices choices;
  choices.differs = sets_differ(experts.narrow(1, 0, k), chosen);
  choices.decided = kept > k ? (values.select(1, k - 1) - values.select(1, k))
                                   .gt(2 * limit * spread_of(before))
                             : choices.differs.logical_not();
  return choices;
}

namespace {

// By token: the margin between the k-th and the next is more than rounding can
// make up, which moves logits by `moved` each. A probability then changes by a
// factor of e^(2 moved) at most, so that of two the difference changes by no
// more than 2 moved times their sum; biases do not change.
at::Tensor decided_by(const LayerTrace& layer, int64_t k, double moved) {
  const bool biased = layer.selection.defined();
  const at::Tensor& scores = biased ? layer.selection : layer.router_logits;
  const int64_t E = scores.size(1);
  if (k >= E) return at::ones({scores.size(0)}, at::kBool);
  const auto [values, experts] = at::topk(scores, k + 1, 1);
  const at::Tensor margin = values.select(1, k - 1) - values.select(1, k);
  if (!biased) return margin.gt(2 * moved);
  const at::Tensor p = layer.router_logits.softmax(1).gather(1, experts);
  return margin.gt(2 * moved * (p.select(1, k - 1) + p.select(1, k)));
}

}  // namespace

Choices compare_choices(const LayerTrace& parent, const LayerTrace& child,
                        const grow::Recipe& recipe, double limit) {
  if (!child.selection.defined()) {
    return compare_choices(
        lay_out(parent.router_logits, 1, recipe, Axis::kExpert),
        child.router_logits, recipe.child.num_experts_per_tok, limit);
  }
  const int64_t k = parent.experts.size(1);
  const int64_t copies = child.experts.size(1) / k;
  const at::Tensor original =
      at::tensor(sources(recipe.axis(Axis::kExpert, recipe.parent.num_experts)),
                 at::TensorOptions(at::kLong).device(child.experts.device()));
  const double moved = limit * spread_of(parent.router_logits);
  return {.decided = decided_by(parent, k, moved),
          .differs = sets_differ(parent.experts.repeat({1, copies}),
                                 original.index({child.experts}))};
}

void RouterLogitScale::see_layer(const at::Tensor& before,
                                 const at::Tensor& after,
                                 const LayerView& view) {
  const double spread = spread_of(before);
  if (spread == 0) return;
  const double error = (after - before).abs().max().item<double>() / spread;
  error_ = worse(error_, error);
  if (!(error <= limit_)) differs_from(view.layers.child);

  const Choices choices =
      compare_choices(view.parent, view.child, recipe_, limit_);
  decided_ += choices.decided.sum().item<int64_t>();
  changed_ +=
      choices.differs.logical_and(choices.decided).sum().item<int64_t>();
  tokens_ += before.size(0);
  const at::Tensor p = after.to(at::kDouble).softmax(1);
  entropy_[{view.window, view.layers.child}] =
      -(p * p.log()).sum().item<double>() /
      std::log(static_cast<double>(before.size(1)));
}

void RouterLogitScale::differs_from(int64_t layer) {
  if (layer_ < 0 || layer < layer_) layer_ = layer;
}

std::vector<double> RouterLogitScale::seen() const {
  std::vector<double> numbers = {
      error_, static_cast<double>(layer_), static_cast<double>(decided_),
      static_cast<double>(tokens_), static_cast<double>(changed_)};
  for (const auto& [place, entropy] : entropy_) {
    numbers.insert(numbers.end(), {static_cast<double>(place.first),
                                   static_cast<double>(place.second), entropy});
  }
  return numbers;
}

void RouterLogitScale::add_seen(const std::vector<double>& other) {
  error_ = worse(error_, other[0]);
  if (other[1] >= 0) differs_from(static_cast<int64_t>(other[1]));
  decided_ += static_cast<int64_t>(other[2]);
  tokens_ += static_cast<int64_t>(other[3]);
  changed_ += static_cast<int64_t>(other[4]);
  for (size_t i = 5; i < other.size(); i += 3) {
    entropy_[{static_cast<int64_t>(other[i]),
              static_cast<int64_t>(other[i + 1])}] = other[i + 2];
  }
}

void RouterLogitScale::see(const LayerView& view) {
  if (!recipe_.parent.is_mixture()) return;
  see_layer(lay_out(view.parent.router_logits, 1, recipe_, Axis::kExpert),
            view.child.router_logits, view);
}

std::vector<Verdict> RouterLogitScale::verdicts() const {
  if (tokens_ == 0) return {};
  Verdict scale =
      at_most(kCheck, "logits against their spread", error_, limit_);
  double entropy = 0;
  for (const auto& [place, of_layer] : entropy_) entropy += of_layer;
  scale.note = fmt::format("entropy {:.3f} of ln E",
                           entropy / static_cast<double>(tokens_));
  Verdict choice = at_most(kCheck, "tokens with other experts",
                           static_cast<double>(changed_), 0);
  choice.note = fmt::format("{} of {} have a margin above the rounding bound",
                            decided_, tokens_);
  std::vector<Verdict> verdicts = {scale, choice};
  if (layer_ < 0) return verdicts;
  const TensorTable table = tensor_table(recipe_.child);
  for (Verdict& verdict : verdicts) {
    verdict.layer = layer_;
    verdict.tensor = table[find_row(table, Part::kRouter, layer_)].name;
  }
  return verdicts;
}

std::vector<Verdict> router_logit_scale(const ParentRecord& parent,
                                        const grow::Recipe& recipe,
                                        const Probe& probe,
                                        const Transformer& child) {
  RouterLogitScale check(recipe,
                         storage_roundoff(parent.sketches, recipe, child));
  run_window_checks(parent, recipe, probe, child, Dispatch::kSorted, {&check});
  return check.verdicts();
}

}  // namespace annuli::verify

#include "annuli/verify/router_logit_scale.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sort.h>
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

void RouterLogitScale::see_layer(const at::Tensor& before,
                                 const at::Tensor& after,
                                 const LayerView& view) {
  const double spread = spread_of(before);
  if (spread == 0) return;
  const double error = (after - before).abs().max().item<double>() / spread;
  error_ = worse(error_, error);
  if (!(error <= limit_)) differs_from(view.layers.child);

  const Choices choices =
      compare_choices(before, after, recipe_.child.num_experts_per_tok, limit_);
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

#include "annuli/verify/router_logit_scale.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "router_logit_scale";

// A logit is a dot product of D terms of size |w| |x|, rounded to about
// sqrt(D) eps of them in fp32. The mean of x carries up to 0.999 of |x| and is
// projected out of the rows, so the spread is that much smaller than |w| |x|:
// 4e-6 * 50 = 2e-4. A router that is not divided by n is off by 1.
constexpr double kLimit = 1e-3;

struct Reading {
  double error = 0;  // largest |difference| / spread
  int64_t layer = -1;
  int64_t decided = 0;  // tokens whose margin exceeds the bound
  int64_t tokens = 0;
  int64_t changed = 0;  // decided tokens with other experts
  double entropy = 0;   // sum over tokens, of softmax(logits) / ln E
};

// True where the chosen sets differ, [N].
at::Tensor sets_differ(const at::Tensor& a, const at::Tensor& b) {
  return std::get<0>(at::sort(a, 1)).ne(std::get<0>(at::sort(b, 1))).any(1);
}

void read_layer(Reading& reading, const at::Tensor& before,
                const at::Tensor& after, int64_t k, int64_t layer) {
  const double spread = before.std(1).mean().item<double>();
  if (spread == 0) return;
  const double error = (after - before).abs().max().item<double>() / spread;
  reading.error = worse(reading.error, error);
  if (!(error <= kLimit) && reading.layer < 0) reading.layer = layer;

  const int64_t E = before.size(1);
  const int64_t kept = std::min(k + 1, E);
  const auto [values, experts] = at::topk(before, kept, 1);
  const auto chosen = std::get<1>(at::topk(after, k, 1));
  const at::Tensor differs = sets_differ(experts.narrow(1, 0, k), chosen);
  if (kept > k) {
    const at::Tensor margin = values.select(1, k - 1) - values.select(1, k);
    const at::Tensor decided = margin.gt(2 * kLimit * spread);
    reading.decided += decided.sum().item<int64_t>();
    reading.changed += differs.logical_and(decided).sum().item<int64_t>();
  }
  reading.tokens += before.size(0);
  const at::Tensor p = after.to(at::kDouble).softmax(1);
  reading.entropy -=
      (p * p.log()).sum().item<double>() / std::log(static_cast<double>(E));
}

}  // namespace

std::vector<Verdict> router_logit_scale(const ParentRecord& parent,
                                        const grow::Recipe& recipe,
                                        const Probe& probe,
                                        const Transformer& child) {
  if (!recipe.parent.is_mixture()) return {};
  Reading reading;
  for (size_t i = 0; i < parent.windows.size(); ++i) {
    Trace trace;
    ForwardOptions options;
    options.trace = &trace;
    child.hidden_states(probe.tokens[i], options);
    for (const LayerPair& pair : comparable_layers(recipe)) {
      read_layer(reading,
                 parent.windows[i].trace.layers[pair.parent].router_logits,
                 trace.layers[pair.child].router_logits,
                 recipe.child.num_experts_per_tok, pair.child);
    }
  }
  if (reading.tokens == 0) return {};
  Verdict scale =
      at_most(kCheck, "logits against their spread", reading.error, kLimit);
  scale.layer = reading.layer;
  if (reading.layer >= 0) {
    const int64_t row = find_row(child.table(), Part::kRouter, reading.layer);
    scale.tensor = child.table()[row].name;
  }
  scale.note =
      fmt::format("entropy {:.3f} of ln E",
                  reading.entropy / static_cast<double>(reading.tokens));
  Verdict choice = at_most(kCheck, "tokens with other experts",
                           static_cast<double>(reading.changed), 0);
  choice.layer = reading.layer;
  choice.note = fmt::format("{} of {} have a margin above the rounding bound",
                            reading.decided, reading.tokens);
  return {scale, choice};
}

}  // namespace annuli::verify

#include "annuli/verify/rope_integrity.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "rope_integrity";

// The rounding of functional_identity's fp32 limit.
constexpr double kLimit = 1e-5;

// ||a - b|| / ||a|| of each head, [H]; both are [1, T, H, head_dim].
at::Tensor head_errors(const at::Tensor& parent, const at::Tensor& child) {
  const at::Tensor a = parent.to(at::kDouble);
  const at::Tensor b = child.to(at::kDouble);
  return (a - b).norm(2, {0, 1, 3}) / a.norm(2, {0, 1, 3});
}

struct Worst {
  double error = 0;
  int64_t layer = -1;  // first above the limit
  int64_t head = -1;

  void see(const at::Tensor& errors, int64_t at_layer) {
    for (int64_t h = 0; h < errors.size(0); ++h) {
      const double e = errors[h].item<double>();
      error = worse(error, e);
      if (!(e <= kLimit) && (layer < 0 || at_layer < layer)) {
        layer = at_layer;
        head = h;
      }
    }
  }
};

Verdict verdict_of(const char* what, const char* projection,
                   const Worst& worst) {
  Verdict verdict = at_most(
      kCheck, fmt::format("{} after RoPE, every head and position", what),
      worst.error, kLimit);
  if (worst.layer >= 0) {
    verdict.layer = worst.layer;
    verdict.tensor = fmt::format("model.layers.{}.self_attn.{}.weight",
                                 worst.layer, projection);
    verdict.note = fmt::format("head {}", worst.head);
  }
  return verdict;
}

}  // namespace

std::vector<Verdict> rope_integrity(const ParentRecord& parent,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    const Transformer& child) {
  std::vector<Verdict> verdicts = {at_most(
      kCheck, fmt::format("change of head_dim {}", recipe.parent.head_dim),
      static_cast<double>(
          std::abs(recipe.child.head_dim - recipe.parent.head_dim)),
      0)};
  if (!verdicts.back().passed) return verdicts;
  Worst q;
  Worst k;
  for (size_t i = 0; i < parent.windows.size(); ++i) {
    Trace trace;
    ForwardOptions options;
    options.trace = &trace;
    child.hidden_states(probe.tokens[i], options);
    for (const LayerPair& pair : comparable_layers(recipe)) {
      const LayerTrace& before = parent.windows[i].trace.layers[pair.parent];
      const LayerTrace& after = trace.layers[pair.child];
      const auto copies = [](const at::Tensor& whole, const at::Tensor& part) {
        return part.repeat({1, 1, whole.size(2) / part.size(2), 1});
      };
      q.see(head_errors(copies(after.q, before.q), after.q), pair.child);
      k.see(head_errors(copies(after.k, before.k), after.k), pair.child);
    }
  }
  verdicts.push_back(verdict_of("q", "q_proj", q));
  verdicts.push_back(verdict_of("k", "k_proj", k));
  return verdicts;
}

}  // namespace annuli::verify

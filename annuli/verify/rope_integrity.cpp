#include "annuli/verify/rope_integrity.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <cstdlib>
#include <utility>

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

// Every head of `part`, as often as `whole` holds it.
at::Tensor copies(const at::Tensor& whole, const at::Tensor& part) {
  return part.repeat({1, 1, whole.size(2) / part.size(2), 1});
}

}  // namespace

void RopeIntegrity::Worst::see(const at::Tensor& errors, int64_t at_layer) {
  for (int64_t h = 0; h < errors.size(0); ++h) {
    const double e = errors[h].item<double>();
    error = worse(error, e);
    if (!(e <= kLimit) && (layer < 0 || at_layer < layer)) {
      layer = at_layer;
      head = h;
    }
  }
}

Verdict RopeIntegrity::Worst::verdict(const char* what,
                                      const char* projection) const {
  Verdict verdict = at_most(
      kCheck, fmt::format("{} after RoPE, every head and position", what),
      error, kLimit);
  if (layer >= 0) {
    verdict.layer = layer;
    verdict.tensor =
        fmt::format("model.layers.{}.self_attn.{}.weight", layer, projection);
    verdict.note = fmt::format("head {}", head);
  }
  return verdict;
}

void RopeIntegrity::see(const WindowRecord& parent, const WindowRecord& child) {
  // Heads of another width have nothing to be compared with.
  if (recipe_.parent.head_dim != recipe_.child.head_dim) return;
  for (const LayerPair& pair : comparable_layers(recipe_)) {
    const LayerTrace& before = parent.trace.layers[pair.parent];
    const LayerTrace& after = child.trace.layers[pair.child];
    q_.see(head_errors(copies(after.q, before.q), after.q), pair.child);
    k_.see(head_errors(copies(after.k, before.k), after.k), pair.child);
  }
}

std::vector<Verdict> RopeIntegrity::verdicts() const {
  const int64_t before = recipe_.parent.head_dim;
  const int64_t change = std::abs(recipe_.child.head_dim - before);
  std::vector<Verdict> verdicts = {
      at_most(kCheck, fmt::format("change of head_dim {}", before),
              static_cast<double>(change), 0)};
  if (change != 0) return verdicts;
  verdicts.push_back(q_.verdict("q", "q_proj"));
  verdicts.push_back(k_.verdict("k", "k_proj"));
  // A k that is wrong makes the next layer's q wrong: the cause comes first.
  const bool k_is_first =
      k_.layer >= 0 && (q_.layer < 0 || k_.layer < q_.layer);
  if (k_is_first) std::swap(verdicts[1], verdicts[2]);
  return verdicts;
}

std::vector<Verdict> rope_integrity(const ParentRecord& parent,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    const Transformer& child) {
  RopeIntegrity check(recipe);
  run_window_checks(parent, recipe, probe, child, Dispatch::kSorted, {&check});
  return check.verdicts();
}

}  // namespace annuli::verify

#include "annuli/verify/router_gradient.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/model/shared_work.h"
#include "annuli/model/weight_parts.h"

namespace annuli::verify {
namespace {

constexpr double kLimit = 1e-6;

// The same tensors under a config that may have other gates. With `undecided`
// the routers and selection biases are zero: all experts are as likely, ties
// fall at random.
Transformer sharing(const Transformer& model, const ModelConfig& config,
                    bool undecided) {
  Transformer shared(config, model.numbers(), model.device());
  for (size_t row = 0; row < model.table().size(); ++row) {
    const Part part = model.table()[row].part;
    if (model.is_coded(row)) {
      shared.set_codes(row, model.codes(row));
      continue;
    }
    const bool decides = part == Part::kRouter || part == Part::kSelectionBias;
    shared.set_weight(row, undecided && decides
                               ? at::zeros_like(model.weight(row))
                               : model.weight(row).detach());
  }
  // Held as the model's own tensors are; the model outlives this one.
  shared.set_parts({std::shared_ptr<const WeightParts>(), model.parts()});
  return shared;
}

// By layer, of the language-model loss on the first window.
std::vector<double> router_norms(Transformer model, const Probe& probe) {
  std::vector<double> norms(model.config().num_hidden_layers, 0);
  const GradientScope scope(model);
  const Loss loss = model.loss(probe.tokens.at(0), probe.targets.at(0),
                               {.gradient_checkpointing = true});
  model.backward(loss.cross_entropy, [&](size_t row, const at::Tensor& g) {
    const TensorSpec& spec = model.table()[row];
    if (spec.part != Part::kRouter) return;
    norms.at(spec.layer) = g.to(at::kDouble).norm().item<double>();
  });
  return norms;
}

}  // namespace

Verdict router_gradient(const Transformer& model, const Probe& probe,
                        parallel::ProcessGroup& group) {
  ANNULI_CHECK(model.config().is_mixture(), "a dense model has no router");
  ModelConfig raw = model.config();
  raw.norm_topk_prob = false;
  // Zero routers of one process must not reach the other's pass.
  parallel::ProcessGroup& sharers =
      model.parts() == nullptr ? group : parallel::solo();
  const int64_t last = sharers.size() - 1;
  std::vector<double> found;
  std::vector<double> possible;
  if (sharers.rank() == last) {
    found = router_norms(sharing(model, model.config(), false), probe);
  }
  if (sharers.rank() == (last > 1 ? last - 1 : last)) {
    possible = router_norms(sharing(model, raw, true), probe);
  }
  found = of_holder(sharers, found);
  possible = of_holder(sharers, possible);
  double smallest = std::numeric_limits<double>::infinity();
  int64_t at_layer = -1;
  for (size_t layer = 0; layer < found.size(); ++layer) {
    const double share = found[layer] / possible[layer];
    if (share >= smallest) continue;
    smallest = share;  // NaN too
    at_layer = static_cast<int64_t>(layer);
    if (std::isnan(share)) break;
  }
  Verdict verdict = at_least("router_health",
                             "router gradient of the language-model loss alone",
                             smallest, kLimit);
  verdict.layer = at_layer;
  verdict.tensor =
      model.table()[find_row(model.table(), Part::kRouter, at_layer)].name;
  verdict.note = "of what undecided raw gates would give";
  return verdict;
}

}  // namespace annuli::verify

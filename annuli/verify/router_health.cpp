#include "annuli/verify/router_health.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "annuli/kernels/mixture.h"
#include "annuli/verify/parent_record.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "router_health";
constexpr double kLoadLimit = 3;
constexpr double kDistinctLimit = 1e-4;  // relative; equal experts have 0

std::string router_name(const Transformer& model, int64_t layer) {
  return model.table()[find_row(model.table(), Part::kRouter, layer)].name;
}

// Distance of two experts of a layer relative to the first, over all their
// matrices together.
double expert_distance(const Transformer& model, int64_t layer, int64_t a,
                       int64_t b) {
  double difference = 0;
  double size = 0;
  for (const Part part : {Part::kGate, Part::kUp, Part::kDown}) {
    const int64_t row = find_row(model.table(), part, layer, a);
    if (row < 0) continue;
    const int64_t other = find_row(model.table(), part, layer, b);
    const at::Tensor first = model.weight(row).to(model.dtype());
    const at::Tensor second = model.weight(other).to(model.dtype());
    difference += (first - second).square().sum().item<double>();
    size += first.square().sum().item<double>();
  }
  return std::sqrt(difference / size);
}

Verdict distinct_experts(const Transformer& model) {
  double closest = std::numeric_limits<double>::infinity();
  Verdict verdict;
  const int64_t E = model.config().num_experts;
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    for (int64_t a = 0; a < E; ++a) {
      for (int64_t b = a + 1; b < E; ++b) {
        const double distance = expert_distance(model, layer, a, b);
        // NaN, once seen, stays.
        if (std::isnan(closest) || distance >= closest) continue;
        closest = distance;
        verdict.layer = layer;
        verdict.note =
            fmt::format("closest: layer {}, experts {} and {}", layer, a, b);
      }
    }
  }
  Verdict result = at_least(kCheck, "relative distance of the closest experts",
                            closest, kDistinctLimit);
  result.layer = verdict.layer;
  result.note = verdict.note;
  return result;
}

Verdict router_gradients(
    const Transformer& model,
    const std::vector<std::vector<double>>& router_grad_norm) {
  double smallest = std::numeric_limits<double>::infinity();
  int64_t at_layer = -1;
  for (size_t step = 1; step < router_grad_norm.size(); ++step) {
    for (size_t layer = 0; layer < router_grad_norm[step].size(); ++layer) {
      // NaN, once seen, stays.
      if (std::isnan(smallest)) continue;
      if (router_grad_norm[step][layer] >= smallest) continue;
      smallest = router_grad_norm[step][layer];
      at_layer = static_cast<int64_t>(layer);
    }
  }
  Verdict verdict = at_least(kCheck, "smallest router gradient from step 2 on",
                             smallest, std::numeric_limits<double>::min());
  if (at_layer >= 0) {
    verdict.layer = at_layer;
    verdict.tensor = router_name(model, at_layer);
  }
  return verdict;
}

}  // namespace

std::vector<Verdict> router_load(const Transformer& model, const Probe& probe) {
  std::vector<at::Tensor> experts;
  trace_layers(model, probe.router_tokens,
               [&](int64_t, const LayerTrace& layer) {
                 experts.push_back(layer.experts);
               });
  return router_load(model, experts);
}

std::vector<Verdict> router_load(const Transformer& model,
                                 const std::vector<at::Tensor>& chosen) {
  int64_t dead = 0;
  int64_t first_dead = -1;
  double worst = 0;
  double sum = 0;
  int64_t fullest_layer = -1;
  const int64_t E = model.config().num_experts;
  for (size_t layer = 0; layer < chosen.size(); ++layer) {
    const at::Tensor& experts = chosen[layer];
    const auto slots = kernels::expert_load(experts, E);
    const auto empty = std::count(slots.begin(), slots.end(), 0);
    if (empty > 0 && first_dead < 0) first_dead = static_cast<int64_t>(layer);
    dead += empty;
    const double imbalance =
        static_cast<double>(*std::max_element(slots.begin(), slots.end()) * E) /
        static_cast<double>(experts.numel());
    sum += imbalance;
    if (imbalance > worst) {
      worst = imbalance;
      fullest_layer = static_cast<int64_t>(layer);
    }
  }
  const auto layers = static_cast<double>(chosen.size());
  Verdict none_dead = at_most(
      kCheck, fmt::format("experts without a slot, of {}", E * chosen.size()),
      static_cast<double>(dead), 0);
  none_dead.layer = first_dead;
  if (first_dead >= 0) none_dead.tensor = router_name(model, first_dead);
  none_dead.note = fmt::format("{} tokens", chosen.at(0).size(0));
  Verdict load =
      at_most(kCheck, "fullest expert / mean, worst layer", worst, kLoadLimit);
  load.layer = fullest_layer;
  load.tensor = router_name(model, fullest_layer);
  load.note = fmt::format("mean over layers {:.2f}", sum / layers);
  return {none_dead, load};
}

std::vector<Verdict> router_health(
    const Transformer& model, const Probe& probe,
    const std::vector<std::vector<double>>& router_grad_norm) {
  std::vector<Verdict> verdicts = router_load(model, probe);
  verdicts.push_back(distinct_experts(model));
  // A phase of one step has no second one to measure.
  if (router_grad_norm.size() > 1) {
    verdicts.push_back(router_gradients(model, router_grad_norm));
  }
  return verdicts;
}

}  // namespace annuli::verify

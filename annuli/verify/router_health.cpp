#include "annuli/verify/router_health.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "annuli/config/constant_gates.h"
#include "annuli/kernels/mixture.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/router_gradient.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "router_health";
constexpr double kLoadLimit = 3;
constexpr double kDistinctLimit = 1e-4;  // relative; equal experts have 0
constexpr double kLeastShare = 0.1;      // of the mean load: a sound expert's
constexpr double kFalseAlarm = 1e-3;     // that a sound router is refused

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
    const at::Tensor first = model.read_weight(row).to(model.dtype());
    const at::Tensor second = model.read_weight(other).to(model.dtype());
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

// ln of E L over the chance that is taken.
double log_chances(const ModelConfig& config) {
  return std::log(
      static_cast<double>(config.num_experts * config.num_hidden_layers) /
      kFalseAlarm);
}

// The share of the mean load, times which an expert has to be chosen to be seen
// for sure on N tokens.
double seen_share(const ModelConfig& config, int64_t tokens) {
  return log_chances(config) * static_cast<double>(config.num_experts) /
         static_cast<double>(config.num_experts_per_tok * tokens);
}

// Failures of what says nothing are warnings.
void weigh(std::vector<Verdict>& verdicts, const ModelConfig& config,
           int64_t tokens, bool is_text) {
  const bool too_few = seen_share(config, tokens) > 1;
  if (is_text && !too_few) return;
  for (Verdict& verdict : verdicts) {
    verdict.is_advice = true;
    verdict.note +=
        is_text ? fmt::format("; too few to judge by, {} would do",
                              router_tokens_needed(config))
                : "; random tokens say little of a router: --text gives real "
                  "ones";
  }
}

}  // namespace

int64_t router_tokens_needed(const ModelConfig& config) {
  if (!config.is_mixture()) return 0;
  return static_cast<int64_t>(std::ceil(seen_share(config, 1) / kLeastShare));
}

Verdict router_gates(const ModelConfig& config) {
  const int64_t layers = config.num_hidden_layers;
  Verdict verdict = at_most(
      kCheck, fmt::format("routers whose gate is always 1, of {}", layers),
      static_cast<double>(has_constant_gates(config) ? layers : 0), 0);
  if (!verdict.passed) verdict.note = kConstantGates;
  return verdict;
}

std::vector<Verdict> router_load(const Transformer& model, const Probe& probe) {
  std::vector<at::Tensor> experts;
  trace_layers(model, probe.router_tokens,
               [&](int64_t, const LayerTrace& layer) {
                 experts.push_back(layer.experts);
               });
  return router_load(model, experts, probe.is_text);
}

std::vector<Verdict> router_load(const Transformer& model,
                                 const std::vector<at::Tensor>& chosen,
                                 bool is_text) {
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
  std::vector<Verdict> verdicts = {none_dead, load};
  weigh(verdicts, model.config(), chosen.at(0).size(0), is_text);
  return verdicts;
}

Verdict copied_experts(const Transformer& model) {
  Verdict verdict = distinct_experts(model);
  verdict.is_advice = true;
  verdict.note += "; copies with equal gates get equal gradients";
  return verdict;
}

std::vector<Verdict> router_health(const Transformer& model,
                                   const Probe& probe) {
  std::vector<Verdict> verdicts = {router_gates(model.config())};
  for (Verdict& verdict : router_load(model, probe)) {
    verdicts.push_back(std::move(verdict));
  }
  verdicts.push_back(distinct_experts(model));
  verdicts.push_back(router_gradient(model, probe));
  return verdicts;
}

}  // namespace annuli::verify

#include "annuli/verify/router_health.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "annuli/config/constant_gates.h"
#include "annuli/grow/transforms/closed_copies.h"
#include "annuli/kernels/mixture.h"
#include "annuli/parallel/agree.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/router_gradient.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "router_health";
constexpr const char* kDoing = "proving: the load of experts";
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

struct Pair {
  double distance = std::numeric_limits<double>::infinity();
  int64_t first = -1;
  int64_t second = -1;

  // NaN, once seen, stays.
  bool is_closer_than(const Pair& other) const {
    return !std::isnan(other.distance) && !(distance >= other.distance);
  }
};

// The closest of a layer's experts, or the first that cannot be compared.
Pair closest_pair(const Transformer& model, int64_t layer) {
  Pair closest;
  const int64_t E = model.config().num_experts;
  for (int64_t a = 0; a < E; ++a) {
    for (int64_t b = a + 1; b < E; ++b) {
      const Pair pair{expert_distance(model, layer, a, b), a, b};
      if (pair.is_closer_than(closest)) closest = pair;
    }
  }
  return closest;
}

// Of every layer. Each process looks at its own layers; where they hold the
// weights in parts they read all of them together.
std::vector<Pair> closest_pairs(const Transformer& model,
                                parallel::ProcessGroup& group) {
  const int64_t layers = model.config().num_hidden_layers;
  const bool divided = model.parts() == nullptr;
  const int64_t rank = divided ? group.rank() : 0;
  const int64_t processes = divided ? group.size() : 1;
  std::vector<double> own;
  const int64_t end = first_of(rank + 1, processes, layers);
  for (int64_t i = first_of(rank, processes, layers); i < end; ++i) {
    const Pair pair = closest_pair(model, i);
    own.insert(own.end(), {pair.distance, static_cast<double>(pair.first),
                           static_cast<double>(pair.second)});
  }
  std::vector<Pair> pairs;
  for (const auto& given :
       parallel::gather_numbers(divided ? group : parallel::solo(), own)) {
    for (size_t i = 0; i < given.size(); i += 3) {
      pairs.push_back({given[i], static_cast<int64_t>(given[i + 1]),
                       static_cast<int64_t>(given[i + 2])});
    }
  }
  return pairs;
}

Verdict distinct_experts(const Transformer& model,
                         parallel::ProcessGroup& group) {
  Pair closest;
  int64_t at_layer = -1;
  const std::vector<Pair> pairs = closest_pairs(model, group);
  for (size_t layer = 0; layer < pairs.size(); ++layer) {
    if (!pairs[layer].is_closer_than(closest)) continue;
    closest = pairs[layer];
    at_layer = static_cast<int64_t>(layer);
  }
  Verdict verdict = at_least(kCheck, "relative distance of the closest experts",
                             closest.distance, kDistinctLimit);
  verdict.layer = at_layer;
  if (at_layer >= 0) {
    verdict.note = fmt::format("closest: layer {}, experts {} and {}", at_layer,
                               closest.first, closest.second);
  }
  return verdict;
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

std::vector<bool> closed_by(const grow::Recipe& recipe) {
  const int64_t row =
      find_row(tensor_table(recipe.child), Part::kSelectionBias, /*layer=*/0);
  return row < 0 ? std::vector<bool>()
                 : grow::closed_experts(recipe.tensors.at(row));
}

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

namespace {

// By layer, the slots of each expert.
using Slots = std::vector<std::vector<int64_t>>;

// Closed, and not opened yet.
int64_t still_closed(const std::vector<int64_t>& slots,
                     const std::vector<bool>& closed) {
  int64_t count = 0;
  for (size_t e = 0; e < closed.size(); ++e) {
    if (closed[e] && slots[e] == 0) ++count;
  }
  return count;
}

std::vector<Verdict> load_verdicts(const Transformer& model, const Slots& load,
                                   bool is_text,
                                   const std::vector<bool>& closed) {
  int64_t dead = 0;
  int64_t first_dead = -1;
  double worst = 0;
  double sum = 0;
  int64_t waiting = 0;
  int64_t fullest_layer = -1;
  const int64_t E = model.config().num_experts;
  int64_t of_layer = 0;
  for (size_t layer = 0; layer < load.size(); ++layer) {
    const std::vector<int64_t>& slots = load[layer];
    of_layer = std::accumulate(slots.begin(), slots.end(), int64_t{0});
    const int64_t waits = still_closed(slots, closed);
    const auto empty = std::count(slots.begin(), slots.end(), 0) - waits;
    waiting += waits;
    if (empty > 0 && first_dead < 0) first_dead = static_cast<int64_t>(layer);
    dead += empty;
    const double imbalance =
        static_cast<double>(*std::max_element(slots.begin(), slots.end()) *
                            (E - waits)) /
        static_cast<double>(of_layer);
    sum += imbalance;
    if (imbalance > worst) {
      worst = imbalance;
      fullest_layer = static_cast<int64_t>(layer);
    }
  }
  const int64_t tokens = of_layer / model.config().num_experts_per_tok;
  const auto layers = static_cast<double>(load.size());
  Verdict none_dead = at_most(
      kCheck,
      fmt::format("experts without a slot, of {}", E * load.size() - waiting),
      static_cast<double>(dead), 0);
  none_dead.layer = first_dead;
  if (first_dead >= 0) none_dead.tensor = router_name(model, first_dead);
  none_dead.note = fmt::format("{} tokens", tokens);
  if (waiting > 0) {
    none_dead.note += fmt::format(
        "; {} copies more are closed, and training has yet to open them",
        waiting);
  }
  Verdict fullest =
      at_most(kCheck, "fullest expert / mean, worst layer", worst, kLoadLimit);
  fullest.layer = fullest_layer;
  fullest.tensor = router_name(model, fullest_layer);
  fullest.note = fmt::format("mean over layers {:.2f}", sum / layers);
  std::vector<Verdict> verdicts = {none_dead, fullest};
  weigh(verdicts, model.config(), tokens, is_text);
  return verdicts;
}

}  // namespace

std::vector<Verdict> router_load(const Transformer& model,
                                 const std::vector<at::Tensor>& experts,
                                 bool is_text,
                                 const std::vector<bool>& closed) {
  Slots load;
  for (const at::Tensor& chosen : experts) {
    load.push_back(kernels::expert_load(chosen, model.config().num_experts));
  }
  return load_verdicts(model, load, is_text, closed);
}

std::vector<Verdict> router_load(const Transformer& model, const Probe& probe,
                                 const std::vector<bool>& closed) {
  RouterLoad load(model, probe, closed);
  std::vector<Pass> passes;
  load.add_to(passes);
  make_passes(model, parallel::solo(), kDoing, passes);
  return load.verdicts(parallel::solo());
}

void RouterLoad::add_to(std::vector<Pass>& passes) {
  passes.emplace_back([this] {
    trace_layers(
        model_, probe_.router_tokens, [&](int64_t, const LayerTrace& layer) {
          const auto slots =
              kernels::expert_load(layer.experts, model_.config().num_experts);
          slots_.insert(slots_.end(), slots.begin(), slots.end());
        });
  });
}

std::vector<Verdict> RouterLoad::verdicts(parallel::ProcessGroup& group) const {
  const std::vector<double> slots = of_holder(group, slots_);
  const int64_t E = model_.config().num_experts;
  Slots load;
  for (auto layer = slots.begin(); layer != slots.end(); layer += E) {
    load.emplace_back(layer, layer + E);
  }
  return load_verdicts(model_, load, probe_.is_text, closed_);
}

Verdict copied_experts(const Transformer& model,
                       parallel::ProcessGroup& group) {
  Verdict verdict = distinct_experts(model, group);
  verdict.is_advice = true;
  verdict.note += "; copies with equal gates get equal gradients";
  return verdict;
}

// The first process counts the slots; where all weights are at hand the last
// ones measure gradients meanwhile (router_gradient.h).
std::vector<Verdict> router_health(const Transformer& model, const Probe& probe,
                                   parallel::ProcessGroup& group,
                                   const std::vector<bool>& closed) {
  RouterLoad load(model, probe, closed);
  std::vector<Pass> passes;
  if (group.is_first()) load.add_to(passes);
  make_passes(model, group, kDoing, passes);
  const Verdict gradient = router_gradient(model, probe, group);
  std::vector<Verdict> verdicts = {router_gates(model.config())};
  for (Verdict& verdict : load.verdicts(group)) {
    verdicts.push_back(std::move(verdict));
  }
  verdicts.push_back(closed.empty() ? distinct_experts(model, group)
                                    : copied_experts(model, group));
  verdicts.push_back(gradient);
  return verdicts;
}

}  // namespace annuli::verify

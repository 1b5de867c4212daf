#include "annuli/verify/probe_division.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "annuli/model/tensor_table.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {
namespace {

// What passes multiply, in parameters times tokens: through the parent, and
// through the child in all ways in which it is run.
struct Costs {
  double window;
  double in_double;
  double router;
};

Costs costs_of(const Probe& probe, const grow::Recipe& recipe) {
  const ParameterCount parent = count_parameters(recipe.parent);
  const ParameterCount child = count_parameters(recipe.child);
  const auto length = static_cast<double>(probe.tokens.at(0).numel());
  const auto both = static_cast<double>(parent.active + child.active);
  const double every_expert =
      is_plain_upcycle(recipe) ? static_cast<double>(child.total) : 0;
  const double of_router =
      is_upcycle(recipe) ? both : static_cast<double>(parent.active);
  // Twice the time of fp32, of two windows.
  return {
      .window = length * (both + every_expert),
      .in_double = 4 * length * both,
      .router = static_cast<double>(probe.router_tokens.numel()) * of_router};
}

// By number of the pass: the process that makes it.
std::vector<int64_t> deal(const std::vector<double>& costs, int64_t processes,
                          bool together) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(),
                           [&](size_t i) { return costs[i]; });
  std::vector<int64_t> makers(costs.size());
  std::vector<double> load(processes, 0);
  for (size_t i = 0; i < order.size(); ++i) {
    const auto least = std::ranges::min_element(load);
    const int64_t maker =
        together ? static_cast<int64_t>(i) % processes : least - load.begin();
    makers[order[i]] = maker;
    load[maker] += costs[order[i]];
  }
  return makers;
}

}  // namespace

ProbeDivision::ProbeDivision(const Probe& probe)
    : group_(&parallel::solo()), windows_(probe.tokens.size()) {
  std::iota(windows_.begin(), windows_.end(), size_t{0});
}

ProbeDivision::ProbeDivision(const Probe& probe, const grow::Recipe& recipe,
                             parallel::ProcessGroup& group, bool together)
    : ProbeDivision(probe) {
  group_ = &group;
  if (group.size() == 1) return;
  const Costs cost = costs_of(probe, recipe);
  const size_t count = windows_.size();
  std::vector<double> costs(count, cost.window);
  costs.push_back(recipe.width_factor > 1 ? cost.in_double : 0);
  costs.push_back(cost.router);
  const std::vector<int64_t> makers = deal(costs, group.size(), together);
  std::erase_if(windows_,
                [&](size_t window) { return makers[window] != group.rank(); });
  makes_double_ = makers[count] == group.rank();
  makes_router_ = makers[count + 1] == group.rank();
}

}  // namespace annuli::verify

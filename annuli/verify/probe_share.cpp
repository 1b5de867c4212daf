#include "annuli/verify/probe_share.h"

#include <algorithm>
#include <cmath>

namespace annuli::verify {
namespace {

constexpr double kLogMisses = 14;    // exp(-14) < 1e-6
constexpr double kLeastLoad = 0.25;  // rho

double tokens_needed(const ModelConfig& config) {
  if (!config.is_mixture()) return 1;
  const double share = kLeastLoad *
                       static_cast<double>(config.num_experts_per_tok) /
                       static_cast<double>(config.num_experts);
  return kLogMisses / share;
}

}  // namespace

size_t windows_needed(const grow::Recipe& recipe, int64_t length, size_t all) {
  // The means of several models are compared by their losses alone.
  if (recipe.models > 1) return all;
  const double windows =
      std::ceil(tokens_needed(recipe.child) / static_cast<double>(length));
  return std::min(all, static_cast<size_t>(windows));
}

}  // namespace annuli::verify

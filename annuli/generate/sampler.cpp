#include "annuli/generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"

namespace annuli {
namespace {

std::vector<double> to_doubles(const at::Tensor& logits) {
  ANNULI_CHECK(logits.dim() == 1 && logits.numel() > 0,
               "logits of {} dimensions, {} entries", logits.dim(),
               logits.numel());
  const at::Tensor row = logits.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* data = row.const_data_ptr<double>();
  return {data, data + row.numel()};
}

void take_out(std::span<const int32_t> never, std::vector<double>& logits) {
  for (const int32_t id : never) {
    if (id >= 0 && id < std::ssize(logits)) {
      logits[static_cast<size_t>(id)] =
          -std::numeric_limits<double>::infinity();
    }
  }
}

int32_t checked_argmax(const std::vector<double>& logits) {
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) ||
        logits[i] == std::numeric_limits<double>::infinity()) {
      user_error(
          "choosing a token: the logit of token {} is {}, expected a finite "
          "number; the model's weights are damaged or its training diverged",
          i, logits[i]);
    }
    if (logits[i] > logits[best]) best = i;
  }
  if (!std::isfinite(logits[best])) {
    user_error(
        "choosing a token: all {} logits are -inf, expected at least one "
        "finite number; the model's weights are damaged",
        logits.size());
  }
  return static_cast<int32_t>(best);
}

// Token ids that may be drawn; ranked, best first, if anything is cut off.
std::vector<int32_t> candidates(const std::vector<double>& logits,
                                const SamplerOptions& options) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto size = static_cast<int64_t>(ids.size());
  const int64_t kept = options.top_k > 0 ? std::min(options.top_k, size) : size;
  if (kept == size && options.top_p >= 1) return ids;
  const auto better = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + kept, ids.end(), better);
  ids.resize(kept);
  return ids;
}

// Length of the shortest prefix that holds `top_p` of the total weight.
size_t nucleus_size(const std::vector<double>& weights, double top_p) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum >= top_p * total) return i + 1;
  }
  return weights.size();
}

// Inverse of the cumulative weights at u in [0, 1); never a weight of 0.
size_t draw(const std::vector<double>& weights, double u) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    sum += weights[i];
    last = i;
    if (u * total < sum) return i;
  }
  return last;
}

}  // namespace

void validate(const SamplerOptions& options) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature)) {
    user_error(
        "choosing a token: temperature is {}, expected 0 (greedy) or a "
        "positive number",
        options.temperature);
  }
  if (options.top_k < 0) {
    user_error("choosing a token: top_k is {}, expected 0 (all) or more",
               options.top_k);
  }
  if (!(options.top_p > 0) || options.top_p > 1) {
    user_error("choosing a token: top_p is {}, expected above 0, up to 1",
               options.top_p);
  }
}

int32_t greedy_token(const at::Tensor& logits) {
  return checked_argmax(to_doubles(logits));
}

int32_t sample_token(const at::Tensor& logits, const SamplerOptions& options,
                     uint64_t position) {
  validate(options);
  std::vector<double> row = to_doubles(logits);
  take_out(options.never, row);
  const int32_t best = checked_argmax(row);
  if (options.temperature == 0) return best;
  std::vector<int32_t> ids = candidates(row, options);
  std::vector<double> weights;
  weights.reserve(ids.size());
  for (const int32_t id : ids) {
    weights.push_back(std::exp((row[id] - row[best]) / options.temperature));
  }
  if (options.top_p < 1) weights.resize(nucleus_size(weights, options.top_p));
  const CounterRng rng(options.seed, "generate/sample");
  return ids[draw(weights, rng.uniform(position))];
}

}  // namespace annuli

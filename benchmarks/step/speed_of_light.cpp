#include "benchmarks/step/speed_of_light.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/model/tensor_table.h"

namespace annuli::bench {
namespace {

constexpr Product kBackward[] = {Product::kInputGradient,
                                 Product::kWeightGradient};

// What the parts of a layer read: q, k and v the same rows, gate and up too.
// -1 for what is no product of the step.
int input_group(Part part) {
  switch (part) {
    case Part::kQ:
    case Part::kK:
    case Part::kV:
      return 0;
    case Part::kO:
      return 1;
    case Part::kGate:
    case Part::kUp:
      return 2;
    case Part::kDown:
      return 3;
    default:
      return -1;
  }
}

// Numbers like a model's: zeros and denormals have speeds of their own.
at::Tensor filled(at::IntArrayRef shape, at::ScalarType dtype) {
  at::Tensor numbers = at::empty(shape, at::kFloat);
  kernels::fill_normal(numbers, CounterRng(1, "speed of light"), 0.02);
  return numbers.to(dtype);
}

}  // namespace

SpeedOfLight::SpeedOfLight(const ModelConfig& config, int64_t tokens,
                           at::ScalarType dtype)
    : config_(config), tokens_(tokens), dtype_(dtype), routes_(dtype) {
  add_sites();
  head_ = filled({config_.vocab_size, config_.hidden_size}, dtype_);
  hidden_ = filled({tokens_, config_.hidden_size}, dtype_);
  choose_chunk();
}

size_t SpeedOfLight::input_of(int64_t rows, int64_t width) {
  inputs_.push_back(filled({rows, width}, dtype_));
  return inputs_.size() - 1;
}

void SpeedOfLight::add_sites() {
  std::map<std::tuple<int64_t, bool, int>, size_t> known;
  int64_t widest = 0;
  for (const TensorSpec& spec : tensor_table(config_)) {
    const int group = input_group(spec.part);
    if (group < 0) continue;
    const std::vector<int64_t> shape = spec.shape();
    const bool routed = spec.expert >= 0;
    const int64_t rows =
        routed ? tokens_ * config_.num_experts_per_tok : tokens_;
    const std::tuple key{spec.layer, routed, group};
    if (!known.contains(key)) known[key] = input_of(rows, shape[1]);
    sites_.push_back({.weight = filled(shape, dtype_),
                      .input = known.at(key),
                      .layer = spec.layer,
                      .expert = spec.expert});
    widest = std::max(widest, rows * shape[0]);
  }
  gradients_ = filled({widest}, dtype_);
}

ExpertRows SpeedOfLight::even_rows() const {
  if (!config_.is_mixture()) return {};
  const int64_t slots = tokens_ * config_.num_experts_per_tok;
  std::vector<int64_t> layer(config_.num_experts);
  for (int64_t e = 0; e < config_.num_experts; ++e) {
    layer[e] =
        slots * (e + 1) / config_.num_experts - slots * e / config_.num_experts;
  }
  return ExpertRows(config_.num_hidden_layers, layer);
}

Operands SpeedOfLight::operands(const Site& site, const ExpertRows& rows) {
  at::Tensor input = inputs_[site.input];
  if (site.expert >= 0) {
    const std::vector<int64_t>& layer = rows.at(site.layer);
    const auto begin = layer.begin() + site.expert;
    input = input.narrow(0, std::accumulate(layer.begin(), begin, int64_t{0}),
                         *begin);
  }
  const int64_t out = site.weight.size(0);
  return {.input = input,
          .weight = site.weight,
          .output_gradient = gradients_.narrow(0, 0, input.size(0) * out)
                                 .view({input.size(0), out})};
}

Operands SpeedOfLight::chunk(int64_t begin, int64_t rows) {
  const int64_t V = config_.vocab_size;
  if (gradients_.numel() < rows * V) gradients_ = filled({rows * V}, dtype_);
  return {.input = hidden_.narrow(0, begin, rows),
          .weight = head_,
          .output_gradient = gradients_.narrow(0, 0, rows * V).view({rows, V})};
}

void SpeedOfLight::choose_chunk() {
  double best = std::numeric_limits<double>::infinity();
  for (int64_t rows = std::min<int64_t>(256, tokens_); rows <= tokens_;
       rows *= 2) {
    double seconds = 0;
    const Operands operands = chunk(0, rows);
    for (Product product : {Product::kForward, Product::kInputGradient,
                            Product::kWeightGradient}) {
      seconds += routes_.prepare(product, operands);
    }
    seconds /= static_cast<double>(rows);
    if (seconds < best) {
      best = seconds;
      chunk_ = rows;
    }
  }
}

void SpeedOfLight::run_head() {
  for (int64_t begin = 0; begin < tokens_; begin += chunk_) {
    const Operands operands = chunk(begin, std::min(chunk_, tokens_ - begin));
    routes_.run(Product::kForward, operands);
    routes_.run(Product::kInputGradient, operands);
    routes_.run(Product::kWeightGradient, operands, begin > 0);
  }
}

template <typename F>
void SpeedOfLight::for_each_site(const ExpertRows& rows, const F& f) {
  for (const Site& site : sites_) {
    const Operands found = operands(site, rows);
    if (found.input.size(0) > 0) f(found);
  }
}

Light SpeedOfLight::replay(const ExpertRows& rows) {
  const int64_t mixtures = config_.is_mixture() ? config_.num_hidden_layers : 0;
  ANNULI_CHECK(std::ssize(rows) == mixtures, "rows of {} layers", rows.size());
  Light light;
  std::vector<Operands> all;
  for_each_site(rows, [&](const Operands& found) {
    routes_.prepare(Product::kForward, found);
    for (Product product : kBackward) routes_.prepare(product, found);
    light.flops += 6.0 * static_cast<double>(found.input.size(0)) *
                   static_cast<double>(found.weight.numel());
    all.push_back(found);
  });
  light.flops +=
      6.0 * static_cast<double>(tokens_) * static_cast<double>(head_.numel());
  const auto start = std::chrono::steady_clock::now();
  for (const Operands& one : all) routes_.run(Product::kForward, one);
  run_head();
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    for (Product product : kBackward) routes_.run(product, *one);
  }
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  light.seconds = seconds.count();
  return light;
}

std::unique_ptr<SpeedOfLight> fastest_light(const ModelConfig& config,
                                            int64_t tokens,
                                            at::ScalarType dtype) {
  auto light = std::make_unique<SpeedOfLight>(config, tokens, dtype);
  if (dtype != at::kBFloat16) return light;
  const auto best = [](SpeedOfLight& one) {
    const double first = one.replay(one.even_rows()).seconds;
    return std::min(first, one.replay(one.even_rows()).seconds);
  };
  const double narrow = best(*light);
  light.reset();  // two at once may not fit
  auto wide = std::make_unique<SpeedOfLight>(config, tokens, at::kFloat);
  if (best(*wide) < narrow) return wide;
  wide.reset();
  return std::make_unique<SpeedOfLight>(config, tokens, dtype);
}

}  // namespace annuli::bench

#include "annuli/model/rope_frequencies.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"

namespace annuli {
namespace {

at::Tensor llama3(const at::Tensor& f, const RopeScaling& scaling) {
  const auto length =
      static_cast<double>(scaling.original_max_position_embeddings);
  const double longest = length / scaling.low_freq_factor;
  const double shortest = length / scaling.high_freq_factor;
  const at::Tensor wavelength = (2 * std::numbers::pi) / f;
  const at::Tensor slow = wavelength > longest;
  const at::Tensor fast = wavelength < shortest;
  const at::Tensor share = (length / wavelength - scaling.low_freq_factor) /
                           (scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor blend = (1 - share) * f / scaling.factor + share * f;
  return at::where(slow, f / scaling.factor, at::where(fast, f, blend));
}

// The index of the frequency that turns so often within the original length.
double index_of_turns(double turns, const RopeScaling& scaling,
                      const ModelConfig& config) {
  const auto length =
      static_cast<double>(scaling.original_max_position_embeddings);
  return static_cast<double>(config.rotary_dim()) *
         std::log(length / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(config.rope_theta));
}

at::Tensor yarn(const at::Tensor& f, const RopeScaling& scaling,
                const ModelConfig& config) {
  double low = index_of_turns(scaling.beta_fast, scaling, config);
  double high = index_of_turns(scaling.beta_slow, scaling, config);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(config.rotary_dim() - 1));
  if (low == high) high += 0.001;  // as transformers does
  const at::Tensor index = at::arange(f.numel(), f.options());
  const at::Tensor stretched =
      ((index - low) / (high - low)).clamp(0, 1);  // as a share
  return f / scaling.factor * stretched + f * (1 - stretched);
}

}  // namespace

at::Tensor rope_frequencies(const ModelConfig& config, at::ScalarType dtype,
                            at::Device device) {
  const RopeScaling& scaling = config.rope_scaling;
  at::Tensor f = kernels::rotary_frequencies(config.rotary_dim(),
                                             config.rope_theta, dtype, device);
  switch (scaling.type) {
    case RopeScaling::Type::kDefault:
      return f;
    case RopeScaling::Type::kLinear:
      return f / scaling.factor;
    case RopeScaling::Type::kLlama3:
      return llama3(f, scaling);
    case RopeScaling::Type::kYarn:
      return yarn(f, scaling, config);
  }
  ANNULI_CHECK(false, "rope type {}", static_cast<int>(scaling.type));
}

double rope_amplitude(const ModelConfig& config) {
  return config.rope_scaling.type == RopeScaling::Type::kYarn
             ? config.rope_scaling.attention_factor
             : 1;
}

}  // namespace annuli

#include "annuli/model/rope_frequencies.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

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
  }
  ANNULI_CHECK(false, "rope type {}", static_cast<int>(scaling.type));
}

}  // namespace annuli

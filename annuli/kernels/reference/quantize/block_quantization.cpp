#include "annuli/kernels/quantize/block_quantization.h"

#include <algorithm>
#include <cmath>

#include "annuli/kernels/memory/owned_memory.h"

// For the host alone, as codes are.
namespace annuli::kernels {
namespace {

uint8_t nearest(const std::array<float, 256>& values, Codes kind, float x) {
  size_t best = 0;
  for (size_t code = 1; code < values.size(); ++code) {
    // The lower one in magnitude where both are as near.
    const double distance = std::abs(double{values[code]} - x);
    const double least = std::abs(double{values[best]} - x);
    if (distance < least || (distance == least && x < 0)) best = code;
  }
  if (kind == Codes::kUnsigned && best == 0 && x > 0) best = 1;
  return static_cast<uint8_t>(best);
}

}  // namespace

Quantized reference::quantize(const at::Tensor& values, Codes kind) {
  const Quantized result{
      owned_empty(values.sizes(), at::kByte),
      owned_empty({quantized_blocks(values.numel())}, at::kFloat)};
  const float* from = values.const_data_ptr<float>();
  auto* codes = result.codes.mutable_data_ptr<uint8_t>();
  auto* scales = result.scales.mutable_data_ptr<float>();
  for (int64_t begin = 0; begin < values.numel(); begin += kQuantizedBlock) {
    const int64_t end = std::min(begin + kQuantizedBlock, values.numel());
    float scale = 0;
    for (int64_t i = begin; i < end; ++i) {
      const bool larger = std::abs(from[i]) > std::abs(scale);
      const bool positive = from[i] == -scale && from[i] > 0;
      if (larger || positive) scale = from[i];
    }
    if (std::abs(scale) < 0x1p-126f) scale = 0;
    scales[begin / kQuantizedBlock] = scale;
    for (int64_t i = begin; i < end; ++i) {
      const float x = scale == 0 ? 0 : from[i] * (1 / scale);
      codes[i] = nearest(code_values(kind), kind, x);
    }
  }
  return result;
}

}  // namespace annuli::kernels

#include "annuli/kernels/quantize/stochastic_rounding.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <vector>

namespace annuli::kernels {
namespace {

// The 16 bits of each of n entries, one entry at a time.
std::vector<int32_t> bits_of(const CounterRng& rng, Operand operand,
                             int64_t n) {
  std::vector<int32_t> bits;
  bits.reserve(n);
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t pair = static_cast<uint64_t>(i) / 2 % 1024;
    const uint64_t block = static_cast<uint64_t>(i / kNoiseEntries) * 256 +
                           (static_cast<uint64_t>(operand) << 48) + pair % 256;
    const uint32_t word = rng.block(block)[pair / 256];
    bits.push_back(
        static_cast<int32_t>(i % 2 == 0 ? word & 0xffff : word >> 16));
  }
  return bits;
}

}  // namespace

// The random bits go to the device, so that the numbers need not come from it.
void reference::round_stochastically(const at::Tensor& values,
                                     const CounterRng& rng, Operand operand,
                                     at::Tensor& target) {
  const at::Tensor wide = values.to(at::kFloat).contiguous();
  const at::Tensor bits = at::tensor(bits_of(rng, operand, wide.numel()))
                              .to(wide.device())
                              .view(wide.sizes());
  const at::Tensor upper =
      wide.view(at::kInt).add(bits).bitwise_right_shift(16);
  target.copy_(upper.to(at::kShort).view(at::kBFloat16));
}

}  // namespace annuli::kernels

#include "annuli/kernels/quantize/stochastic_rounding.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/optimizer_loop.h"
#include "annuli/kernels/cpu/random_words.h"

namespace annuli::kernels {
namespace {

static_assert(sizeof(Noise) == sizeof(RandomWords));
static_assert(std::endian::native == std::endian::little);

uint64_t block_of(Operand operand, int64_t chunk) {
  return static_cast<uint64_t>(chunk) * kRandomBlocks +
         (static_cast<uint64_t>(operand) << 48);
}

ANNULI_VECTOR_CLONES void round_chunk(const float* values, const Noise& noise,
                                      at::BFloat16* target, int64_t size) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    store(target, i, values[i], noise.bits[i]);
  }
}

}  // namespace

void random_bits(const CounterRng& rng, Operand operand, int64_t first,
                 Noise& noise) {
  RandomWords words;
  random_words(rng, block_of(operand, first / kNoiseEntries), words);
  std::memcpy(noise.bits.data(), words.word.data(), sizeof words);
}

void round_stochastically(const at::Tensor& values, const CounterRng& rng,
                          Operand operand, at::Tensor& target) {
  ANNULI_CHECK(values.sizes() == target.sizes());
  ANNULI_CHECK(values.is_contiguous() && target.is_contiguous());
  const float* from = values.const_data_ptr<float>();
  auto* to = target.mutable_data_ptr<at::BFloat16>();
  parallel_blocks(values.numel(), kNoiseEntries,
                  [&](int64_t begin, int64_t end) {
                    Noise noise;
                    random_bits(rng, operand, begin, noise);
                    round_chunk(from + begin, noise, to + begin, end - begin);
                  });
}

void reference::round_stochastically(const at::Tensor& values,
                                     const CounterRng& rng, Operand operand,
                                     at::Tensor& target) {
  const at::Tensor wide = values.to(at::kCPU, at::kFloat).contiguous();
  at::Tensor rounded = wide.to(at::kBFloat16);
  const float* from = wide.const_data_ptr<float>();
  auto* to = rounded.mutable_data_ptr<at::BFloat16>();
  for (int64_t i = 0; i < wide.numel(); ++i) {
    const uint64_t pair = static_cast<uint64_t>(i) / 2 % 1024;
    const uint32_t word = rng.block(block_of(operand, i / kNoiseEntries) +
                                    pair % 256)[pair / 256];
    const uint32_t bits = i % 2 == 0 ? word & 0xffff : word >> 16;
    to[i].x =
        static_cast<uint16_t>((std::bit_cast<uint32_t>(from[i]) + bits) >> 16);
  }
  target.copy_(rounded);
}

}  // namespace annuli::kernels

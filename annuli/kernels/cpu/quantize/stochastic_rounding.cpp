#include "annuli/kernels/cpu/quantize/stochastic_rounding.h"

#include <bit>
#include <cstring>

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

void cpu::round_stochastically(const at::Tensor& values, const CounterRng& rng,
                               Operand operand, at::Tensor& target) {
  const float* from = values.const_data_ptr<float>();
  auto* to = target.mutable_data_ptr<at::BFloat16>();
  parallel_blocks(values.numel(), kNoiseEntries,
                  [&](int64_t begin, int64_t end) {
                    Noise noise;
                    random_bits(rng, operand, begin, noise);
                    round_chunk(from + begin, noise, to + begin, end - begin);
                  });
}

}  // namespace annuli::kernels

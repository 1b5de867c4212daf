#include "annuli/kernels/cpu/optim/adamw_8bit.h"

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/adamw_arithmetic.h"
#include "annuli/kernels/cpu/optim/optimizer_loop.h"
#include "annuli/kernels/cpu/quantize/code_table.h"

namespace annuli::kernels {
namespace {

static_assert(kNoiseEntries % kQuantizedBlock == 0);

struct Codebooks {
  const CodeTable& first = code_table(Codes::kSigned);
  const CodeTable& second = code_table(Codes::kUnsigned);
};

// One block of codes.
template <typename W, typename G>
struct Block {
  W* parameter;
  const G* gradient;
  uint8_t* m;
  uint8_t* v;
  float* m_scale;
  float* v_scale;
  const uint16_t* bits;
  int64_t size;
};

template <typename W, typename G>
ANNULI_INLINE double update_block(const Block<W, G>& block,
                                  const AdamwStep& step, const AdamwFactors& f,
                                  const Codebooks& books) {
  alignas(64) BlockValues first;
  alignas(64) BlockValues second;
  decode_block(books.first, block.m, *block.m_scale, block.size, first.data());
  decode_block(books.second, block.v, *block.v_scale, block.size,
               second.data());
  W* p = block.parameter;
  const G* gradient = block.gradient;
  float* m = first.data();
  float* v = second.data();
  const uint16_t* bits = block.bits;
  const AdamwArithmetic<float> adamw(step, f);
  double squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < block.size; ++i) {
    const float g = load(gradient, i);
    squares += static_cast<double>(g) * static_cast<double>(g);
    const auto entry = adamw.after(load(p, i), g, m[i], v[i]);
    m[i] = entry.m;
    v[i] = entry.v;
    store(p, i, entry.weight, bits[i]);
  }
  *block.m_scale = encode_block<true>(books.first, m, block.size, block.m);
  *block.v_scale = encode_block<false>(books.second, v, block.size, block.v);
  return squares;
}

#define ANNULI_ADAMW_8BIT_BLOCK(W, G)                        \
  ANNULI_VECTOR_CLONES double update(                        \
      const Block<W, G>& block, const AdamwStep& step,       \
      const AdamwFactors& factors, const Codebooks& books) { \
    return update_block(block, step, factors, books);        \
  }
ANNULI_ADAMW_8BIT_BLOCK(float, float)
ANNULI_ADAMW_8BIT_BLOCK(float, at::BFloat16)
ANNULI_ADAMW_8BIT_BLOCK(at::BFloat16, float)
ANNULI_ADAMW_8BIT_BLOCK(at::BFloat16, at::BFloat16)
#undef ANNULI_ADAMW_8BIT_BLOCK

template <typename W, typename G>
double update_all(at::Tensor& parameter, const at::Tensor& gradient,
                  Quantized& m, Quantized& v, const AdamwStep& step) {
  const AdamwFactors factors(step);
  const Codebooks books;
  const Block<W, G> whole{parameter.mutable_data_ptr<W>(),
                          gradient.const_data_ptr<G>(),
                          m.codes.mutable_data_ptr<uint8_t>(),
                          v.codes.mutable_data_ptr<uint8_t>(),
                          m.scales.mutable_data_ptr<float>(),
                          v.scales.mutable_data_ptr<float>(),
                          nullptr,
                          parameter.numel()};
  return sum_over_chunks(whole.size, [&](int64_t first, int64_t last) {
    thread_local Noise noise;  // zero where it is not made
    if constexpr (kIsRounded<W>) {
      random_bits(step.rounding, Operand::kWeight, first, noise);
    }
    double squares = 0;
    for (int64_t begin = first; begin < last; begin += kQuantizedBlock) {
      const int64_t block = begin / kQuantizedBlock;
      squares +=
          update(Block<W, G>{whole.parameter + begin, whole.gradient + begin,
                             whole.m + begin, whole.v + begin,
                             whole.m_scale + block, whole.v_scale + block,
                             noise.bits.data() + (begin - first),
                             std::min(kQuantizedBlock, last - begin)},
                 step, factors, books);
    }
    return squares;
  });
}

}  // namespace

double cpu::adamw_8bit(at::Tensor& parameter, const at::Tensor& gradient,
                       Quantized& m, Quantized& v, const AdamwStep& step) {
  const at::Tensor g = gradient.contiguous();
  double squares = 0;
  dispatch_types(parameter, g, [&](auto weight, auto given) {
    using W = decltype(weight);
    if constexpr (std::is_same_v<W, double>) {
      ANNULI_CHECK(false, "8-bit moments of fp64 weights");
    } else {
      squares = update_all<W, decltype(given)>(parameter, g, m, v, step);
    }
  });
  return squares;
}

}  // namespace annuli::kernels

#include "annuli/kernels/cpu/optim/adamw.h"

#include "annuli/kernels/cpu/optim/adamw_arithmetic.h"
#include "annuli/kernels/cpu/optim/optimizer_loop.h"

namespace annuli::kernels {

namespace {

// W weights, G gradient, S moments.
template <typename W, typename G, typename S>
struct Chunk {
  W* parameter;
  const G* gradient;
  S* m;
  S* v;
  int64_t size;
};

struct ChunkNoise {
  Noise weight, m, v;  // made where that is stored in bf16
};

template <typename W, typename G, typename S>
ANNULI_INLINE double update_chunk(const Chunk<W, G, S>& chunk,
                                  const AdamwStep& step, const AdamwFactors& f,
                                  const ChunkNoise& noise) {
  const AdamwArithmetic<ArithmeticOf<W>> adamw(step, f);
  W* p = chunk.parameter;
  const G* gradient = chunk.gradient;
  S* m = chunk.m;
  S* v = chunk.v;
  const uint16_t* weight_bits = noise.weight.bits.data();
  const uint16_t* m_bits = noise.m.bits.data();
  const uint16_t* v_bits = noise.v.bits.data();
  double squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < chunk.size; ++i) {
    const auto g = load(gradient, i);
    squares += static_cast<double>(g) * static_cast<double>(g);
    const auto entry = adamw.after(load(p, i), g, load(m, i), load(v, i));
    store(m, i, entry.m, m_bits[i]);
    store(v, i, entry.v, v_bits[i]);
    store(p, i, entry.weight, weight_bits[i]);
  }
  return squares;
}

#define ANNULI_ADAMW_CHUNK(W, G, S)                           \
  ANNULI_VECTOR_CLONES double update(                         \
      const Chunk<W, G, S>& chunk, const AdamwStep& step,     \
      const AdamwFactors& factors, const ChunkNoise& noise) { \
    return update_chunk(chunk, step, factors, noise);         \
  }
ANNULI_ADAMW_CHUNK(double, double, double)
ANNULI_ADAMW_CHUNK(float, float, float)
ANNULI_ADAMW_CHUNK(float, float, at::BFloat16)
ANNULI_ADAMW_CHUNK(float, at::BFloat16, float)
ANNULI_ADAMW_CHUNK(float, at::BFloat16, at::BFloat16)
ANNULI_ADAMW_CHUNK(at::BFloat16, float, float)
ANNULI_ADAMW_CHUNK(at::BFloat16, float, at::BFloat16)
ANNULI_ADAMW_CHUNK(at::BFloat16, at::BFloat16, float)
ANNULI_ADAMW_CHUNK(at::BFloat16, at::BFloat16, at::BFloat16)
#undef ANNULI_ADAMW_CHUNK

template <typename W, typename S>
void make_noise(const CounterRng& rng, int64_t first, ChunkNoise& noise) {
  if constexpr (kIsRounded<W>) {
    random_bits(rng, Operand::kWeight, first, noise.weight);
  }
  if constexpr (kIsRounded<S>) {
    random_bits(rng, Operand::kFirstMoment, first, noise.m);
    random_bits(rng, Operand::kSecondMoment, first, noise.v);
  }
}

template <typename W, typename G, typename S>
double update_all(at::Tensor& parameter, const at::Tensor& gradient,
                  at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const AdamwFactors factors(step);
  const Chunk<W, G, S> whole{
      parameter.mutable_data_ptr<W>(), gradient.const_data_ptr<G>(),
      m.mutable_data_ptr<S>(), v.mutable_data_ptr<S>(), parameter.numel()};
  return sum_over_chunks(whole.size, [&](int64_t begin, int64_t end) {
    thread_local ChunkNoise noise;  // zero where it is not made
    make_noise<W, S>(step.rounding, begin, noise);
    const Chunk<W, G, S> chunk{whole.parameter + begin, whole.gradient + begin,
                               whole.m + begin, whole.v + begin, end - begin};
    return update(chunk, step, factors, noise);
  });
}

}  // namespace

double cpu::adamw(at::Tensor& parameter, const at::Tensor& gradient,
                  at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const at::Tensor g = gradient.contiguous();
  double squares = 0;
  dispatch_types(parameter, g, [&](auto weight, auto given) {
    using W = decltype(weight);
    using G = decltype(given);
    if constexpr (std::is_same_v<W, double>) {
      squares = update_all<W, G, double>(parameter, g, m, v, step);
    } else if (m.scalar_type() == at::kBFloat16) {
      squares = update_all<W, G, at::BFloat16>(parameter, g, m, v, step);
    } else {
      squares = update_all<W, G, float>(parameter, g, m, v, step);
    }
  });
  return squares;
}

}  // namespace annuli::kernels

#include "annuli/kernels/cpu/optim/sgd.h"

#include "annuli/kernels/cpu/optim/optimizer_loop.h"

namespace annuli::kernels {
namespace {

struct None {};  // the momentum of plain descent

template <typename S>
inline constexpr bool kHasMomentum = !std::is_same_v<S, None>;

template <typename W, typename G, typename S>
struct Chunk {
  W* parameter;
  const G* gradient;
  S* m;
  int64_t size;
};

struct ChunkNoise {
  Noise weight, m;
};

template <typename W, typename G, typename S>
ANNULI_INLINE double update_chunk(const Chunk<W, G, S>& chunk,
                                  const SgdStep& step,
                                  const ChunkNoise& noise) {
  using A = ArithmeticOf<W>;
  W* p = chunk.parameter;
  const G* gradient = chunk.gradient;
  [[maybe_unused]] S* m = chunk.m;
  const uint16_t* weight_bits = noise.weight.bits.data();
  [[maybe_unused]] const uint16_t* m_bits = noise.m.bits.data();
  const A scale = static_cast<A>(step.gradient_scale);
  const A rate = static_cast<A>(step.learning_rate);
  const A decay = static_cast<A>(step.decay);
  [[maybe_unused]] const A momentum = static_cast<A>(step.momentum);
  double squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < chunk.size; ++i) {
    const A given = load(gradient, i);
    squares += static_cast<double>(given) * static_cast<double>(given);
    A direction = given * scale;
    if constexpr (kHasMomentum<S>) {
      direction += momentum * load(m, i);
      store(m, i, direction, m_bits[i]);
    }
    const A w = load(p, i);
    store(p, i, w - decay * w - rate * direction, weight_bits[i]);
  }
  return squares;
}

#define ANNULI_SGD_CHUNK(W, G, S)                                 \
  ANNULI_VECTOR_CLONES double update(const Chunk<W, G, S>& chunk, \
                                     const SgdStep& step,         \
                                     const ChunkNoise& noise) {   \
    return update_chunk(chunk, step, noise);                      \
  }
#define ANNULI_SGD_CHUNKS(W, G) \
  ANNULI_SGD_CHUNK(W, G, None)  \
  ANNULI_SGD_CHUNK(W, G, float) \
  ANNULI_SGD_CHUNK(W, G, at::BFloat16)
ANNULI_SGD_CHUNK(double, double, None)
ANNULI_SGD_CHUNK(double, double, double)
ANNULI_SGD_CHUNKS(float, float)
ANNULI_SGD_CHUNKS(float, at::BFloat16)
ANNULI_SGD_CHUNKS(at::BFloat16, float)
ANNULI_SGD_CHUNKS(at::BFloat16, at::BFloat16)
#undef ANNULI_SGD_CHUNKS
#undef ANNULI_SGD_CHUNK

template <typename S>
S* begin_of(at::Tensor& m) {
  if constexpr (kHasMomentum<S>) {
    return m.mutable_data_ptr<S>();
  } else {
    return nullptr;
  }
}

template <typename W, typename G, typename S>
double update_all(at::Tensor& parameter, const at::Tensor& gradient,
                  at::Tensor& m, const SgdStep& step) {
  const Chunk<W, G, S> whole{parameter.mutable_data_ptr<W>(),
                             gradient.const_data_ptr<G>(), begin_of<S>(m),
                             parameter.numel()};
  return sum_over_chunks(whole.size, [&](int64_t begin, int64_t end) {
    thread_local ChunkNoise noise;  // zero where it is not made
    if constexpr (kIsRounded<W>) {
      random_bits(step.rounding, Operand::kWeight, begin, noise.weight);
    }
    if constexpr (kIsRounded<S>) {
      random_bits(step.rounding, Operand::kFirstMoment, begin, noise.m);
    }
    const Chunk<W, G, S> chunk{whole.parameter + begin, whole.gradient + begin,
                               kHasMomentum<S> ? whole.m + begin : nullptr,
                               end - begin};
    return update(chunk, step, noise);
  });
}

}  // namespace

double cpu::sgd(at::Tensor& parameter, const at::Tensor& gradient,
                at::Tensor& m, const SgdStep& step) {
  const at::Tensor g = gradient.contiguous();
  double squares = 0;
  dispatch_types(parameter, g, [&](auto weight, auto given) {
    using W = decltype(weight);
    using G = decltype(given);
    if (!m.defined()) {
      squares = update_all<W, G, None>(parameter, g, m, step);
    } else if constexpr (std::is_same_v<W, double>) {
      squares = update_all<W, G, double>(parameter, g, m, step);
    } else if (m.scalar_type() == at::kBFloat16) {
      squares = update_all<W, G, at::BFloat16>(parameter, g, m, step);
    } else {
      squares = update_all<W, G, float>(parameter, g, m, step);
    }
  });
  return squares;
}

}  // namespace annuli::kernels

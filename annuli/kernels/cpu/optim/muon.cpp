#include "annuli/kernels/cpu/optim/muon.h"

#include <ATen/ops/empty.h>

#include "annuli/kernels/cpu/optim/optimizer_loop.h"
#include "annuli/kernels/optim/newton_schulz.h"

namespace annuli::kernels {
namespace {

// G gradient, S momentum; the direction is in the arithmetic's type.
template <typename G, typename S>
struct Chunk {
  const G* gradient;
  S* m;
  ArithmeticOf<G>* direction;
  int64_t size;
};

template <typename G, typename S>
ANNULI_INLINE double direct_chunk(const Chunk<G, S>& chunk,
                                  const MuonStep& step, const Noise& noise) {
  using A = ArithmeticOf<G>;
  const G* gradient = chunk.gradient;
  S* m = chunk.m;
  A* direction = chunk.direction;
  const uint16_t* bits = noise.bits.data();
  const A kept = static_cast<A>(step.momentum);
  const A added = static_cast<A>((1 - step.momentum) * step.gradient_scale);
  double squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < chunk.size; ++i) {
    const A g = load(gradient, i);
    squares += static_cast<double>(g) * static_cast<double>(g);
    const A mean = kept * load(m, i) + added * g;
    store(m, i, mean, bits[i]);
    direction[i] = kept * mean + added * g;
  }
  return squares;
}

template <typename W, typename A>
ANNULI_INLINE void descend_chunk(W* p, const A* direction, int64_t size,
                                 const MuonStep& step, const Noise& noise) {
  const uint16_t* bits = noise.bits.data();
  const A rate = static_cast<A>(step.learning_rate);
  const A decay = static_cast<A>(step.decay);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    const A w = load(p, i);
    store(p, i, w - decay * w - rate * direction[i], bits[i]);
  }
}

#define ANNULI_MUON_DIRECTION(G, S)                                         \
  ANNULI_VECTOR_CLONES double direct(                                       \
      const Chunk<G, S>& chunk, const MuonStep& step, const Noise& noise) { \
    return direct_chunk(chunk, step, noise);                                \
  }
ANNULI_MUON_DIRECTION(double, double)
ANNULI_MUON_DIRECTION(float, float)
ANNULI_MUON_DIRECTION(float, at::BFloat16)
ANNULI_MUON_DIRECTION(at::BFloat16, float)
ANNULI_MUON_DIRECTION(at::BFloat16, at::BFloat16)
#undef ANNULI_MUON_DIRECTION

#define ANNULI_MUON_DESCENT(W, A)                                           \
  ANNULI_VECTOR_CLONES void descend(W* p, const A* direction, int64_t size, \
                                    const MuonStep& step,                   \
                                    const Noise& noise) {                   \
    descend_chunk(p, direction, size, step, noise);                         \
  }
ANNULI_MUON_DESCENT(double, double)
ANNULI_MUON_DESCENT(float, float)
ANNULI_MUON_DESCENT(at::BFloat16, float)
#undef ANNULI_MUON_DESCENT

template <typename T>
void make_noise(const MuonStep& step, Operand operand, int64_t first,
                Noise& noise) {
  if constexpr (kIsRounded<T>) {
    random_bits(step.rounding, operand, first, noise);
  }
}

// The momentum goes on; `direction` is where it points to.
template <typename G, typename S>
double direct_all(const at::Tensor& gradient, at::Tensor& m,
                  at::Tensor& direction, const MuonStep& step) {
  const Chunk<G, S> whole{gradient.const_data_ptr<G>(), m.mutable_data_ptr<S>(),
                          direction.mutable_data_ptr<ArithmeticOf<G>>(),
                          gradient.numel()};
  return sum_over_chunks(whole.size, [&](int64_t begin, int64_t end) {
    thread_local Noise noise;  // zero where it is not made
    make_noise<S>(step, Operand::kFirstMoment, begin, noise);
    const Chunk<G, S> chunk{whole.gradient + begin, whole.m + begin,
                            whole.direction + begin, end - begin};
    return direct(chunk, step, noise);
  });
}

template <typename W>
void descend_all(at::Tensor& parameter, const at::Tensor& direction,
                 const MuonStep& step) {
  using A = ArithmeticOf<W>;
  W* p = parameter.mutable_data_ptr<W>();
  const A* along = direction.const_data_ptr<A>();
  sum_over_chunks(parameter.numel(), [&](int64_t begin, int64_t end) {
    thread_local Noise noise;  // zero where it is not made
    make_noise<W>(step, Operand::kWeight, begin, noise);
    descend(p + begin, along + begin, end - begin, step, noise);
    return 0.0;
  });
}

}  // namespace

double cpu::muon(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& m, const MuonStep& step) {
  const at::Tensor g = gradient.contiguous();
  double squares = 0;
  dispatch_types(parameter, g, [&](auto weight, auto given) {
    using W = decltype(weight);
    using G = decltype(given);
    at::Tensor direction =
        at::empty(parameter.sizes(),
                  std::is_same_v<W, double> ? at::kDouble : at::kFloat);
    if constexpr (std::is_same_v<W, double>) {
      squares = direct_all<G, double>(g, m, direction, step);
    } else if (m.scalar_type() == at::kBFloat16) {
      squares = direct_all<G, at::BFloat16>(g, m, direction, step);
    } else {
      squares = direct_all<G, float>(g, m, direction, step);
    }
    for_each_matrix(direction, step, [&](at::Tensor& matrix) {
      orthogonalize(matrix, step.eps);
    });
    descend_all<W>(parameter, direction.contiguous(), step);
  });
  return squares;
}

}  // namespace annuli::kernels

#include "annuli/kernels/cpu/activation.h"

#include <ATen/ops/empty_like.h>

#include "annuli/kernels/activation_formulas.h"
#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/product.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kElements = 1 << 14;  // per block

// What is read and written, all of one length. T computes, S is the results'
// type; null is what there is none of.
template <typename T, typename S>
struct Forward {
  const T* x;
  const T* gate;
  S* out;
  at::BFloat16* kept_x;
  at::BFloat16* kept_gate;

  Forward from(int64_t i) const {
    return {x + i, gate ? gate + i : gate, out + i,
            kept_x ? kept_x + i : kept_x,
            kept_gate ? kept_gate + i : kept_gate};
  }
};

// K is the type of what was kept.
template <typename T, typename K, typename S>
struct Backward {
  const T* dout;
  const K* x;
  const K* gate;
  S* out;
  S* dx;
  S* dgate;

  Backward from(int64_t i) const {
    return {dout + i, x + i,  gate ? gate + i : gate,
            out + i,  dx + i, dgate ? dgate + i : dgate};
  }
};

template <Activation kKind, typename T, typename S>
ANNULI_INLINE void forward_block(const Forward<T, S>& f, int64_t n) {
  if (f.gate == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      store(Formula<kKind>::point(f.x[i]).value, f.out[i]);
    }
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    store(Formula<kKind>::point(f.gate[i]).value * f.x[i], f.out[i]);
  }
}

template <Activation kKind, typename T, typename K, typename S>
ANNULI_INLINE void backward_block(const Backward<T, K, S>& b, int64_t n) {
  if (b.gate == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const Point<T> point = Formula<kKind>::point(load(b.x[i]));
      store(point.value, b.out[i]);
      store(b.dout[i] * point.slope, b.dx[i]);
    }
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const T dout = b.dout[i];
    const T x = load(b.x[i]);
    const Point<T> point = Formula<kKind>::point(load(b.gate[i]));
    store(point.value * x, b.out[i]);
    store(dout * point.value, b.dx[i]);
    store(dout * x * point.slope, b.dgate[i]);
  }
}

template <typename T>
ANNULI_INLINE void keep_block(const T* from, at::BFloat16* to, int64_t n) {
  if (to == nullptr) return;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    store(static_cast<float>(from[i]), to[i]);
  }
}

// The kind is chosen outside the loops.
template <typename T, typename S>
ANNULI_INLINE void forward_of_kind(Activation kind, const Forward<T, S>& f,
                                   int64_t n) {
#define ANNULI_FORWARD(NAME, WORD) \
  if (kind == Activation::NAME) forward_block<Activation::NAME>(f, n);
  ANNULI_ACTIVATIONS(ANNULI_FORWARD)
#undef ANNULI_FORWARD
  keep_block(f.x, f.kept_x, n);
  keep_block(f.gate, f.kept_gate, n);
}

template <typename T, typename K, typename S>
ANNULI_INLINE void backward_of_kind(Activation kind, const Backward<T, K, S>& b,
                                    int64_t n) {
#define ANNULI_BACKWARD(NAME, WORD) \
  if (kind == Activation::NAME) backward_block<Activation::NAME>(b, n);
  ANNULI_ACTIVATIONS(ANNULI_BACKWARD)
#undef ANNULI_BACKWARD
}

#define ANNULI_ACTIVATION(T, K, S)                                           \
  ANNULI_VECTOR_CLONES void run(Activation kind, const Forward<T, S>& f,     \
                                int64_t n) {                                 \
    forward_of_kind(kind, f, n);                                             \
  }                                                                          \
  ANNULI_VECTOR_CLONES void run(Activation kind, const Backward<T, K, S>& b, \
                                int64_t n) {                                 \
    backward_of_kind(kind, b, n);                                            \
  }
ANNULI_ACTIVATION(float, float, float)
ANNULI_ACTIVATION(float, at::BFloat16, at::BFloat16)
ANNULI_ACTIVATION(float, at::BFloat16, RoundedFloat)
ANNULI_ACTIVATION(double, double, double)
#undef ANNULI_ACTIVATION

template <typename Pass>
void run_all(Activation kind, const Pass& pass, int64_t n) {
  parallel_blocks(n, kElements, [&](int64_t begin, int64_t end) {
    run(kind, pass.from(begin), end - begin);
  });
}

template <typename T>
T* data_of(const at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.mutable_data_ptr()) : nullptr;
}

template <typename T, typename S>
void forward_pass(Activation kind, const at::Tensor& x, const at::Tensor& gate,
                  const Activated& to) {
  const bool narrower = to.kept_x.defined() && !to.kept_x.is_same(x);
  using B = at::BFloat16;
  run_all(kind,
          Forward<T, S>{data_of<const T>(x), data_of<const T>(gate),
                        data_of<S>(to.out),
                        narrower ? data_of<B>(to.kept_x) : nullptr,
                        narrower ? data_of<B>(to.kept_gate) : nullptr},
          x.numel());
}

template <typename T, typename K, typename S>
void backward_pass(Activation kind, const at::Tensor& dout, const at::Tensor& x,
                   const at::Tensor& gate, const ActivationGradients& to) {
  run_all(kind,
          Backward<T, K, S>{data_of<const T>(dout), data_of<const K>(x),
                            data_of<const K>(gate), data_of<S>(to.out),
                            data_of<S>(to.dx), data_of<S>(to.dgate)},
          x.numel());
}

at::Tensor like_if(bool wanted, const at::Tensor& x, at::ScalarType type) {
  return wanted ? at::empty_like(x, type) : at::Tensor();
}

}  // namespace

Activated cpu::activate(Activation kind, const at::Tensor& x,
                        const at::Tensor& gate, bool rounded, bool keep) {
  Activated to{
      .out = at::empty_like(x, rounded ? operand_type() : x.scalar_type())};
  if (keep) {
    to.kept_x = rounded ? at::empty_like(x, at::kBFloat16) : x;
    to.kept_gate = rounded ? like_if(gate.defined(), x, at::kBFloat16) : gate;
  }
  if (x.scalar_type() == at::kDouble) {
    forward_pass<double, double>(kind, x, gate, to);
  } else if (!rounded) {
    forward_pass<float, float>(kind, x, gate, to);
  } else if (operand_type() == at::kFloat) {
    forward_pass<float, RoundedFloat>(kind, x, gate, to);
  } else {
    forward_pass<float, at::BFloat16>(kind, x, gate, to);
  }
  return to;
}

ActivationGradients cpu::activate_backward(Activation kind,
                                           const at::Tensor& dout,
                                           const at::Tensor& x,
                                           const at::Tensor& gate,
                                           bool rounded) {
  const at::ScalarType type = rounded ? operand_type() : x.scalar_type();
  const ActivationGradients to{.out = at::empty_like(x, type),
                               .dx = at::empty_like(x, type),
                               .dgate = like_if(gate.defined(), x, type)};
  if (x.scalar_type() == at::kDouble) {
    backward_pass<double, double, double>(kind, dout, x, gate, to);
  } else if (!rounded) {
    backward_pass<float, float, float>(kind, dout, x, gate, to);
  } else if (type == at::kFloat) {
    backward_pass<float, at::BFloat16, RoundedFloat>(kind, dout, x, gate, to);
  } else {
    backward_pass<float, at::BFloat16, at::BFloat16>(kind, dout, x, gate, to);
  }
  return to;
}

}  // namespace annuli::kernels

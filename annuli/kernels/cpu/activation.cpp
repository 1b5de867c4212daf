#include "annuli/kernels/activation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/square.h>
#include <ATen/record_function.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/cpu/vector_erf.h"
#include "annuli/kernels/product.h"

namespace annuli::kernels {

namespace {

using enum ActivationKind;

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

// The activation of x and its slope there.
template <typename T>
struct Point {
  T value;
  T slope;
};

template <ActivationKind kKind, typename T>
ANNULI_INLINE Point<T> point_at(T x) {
  if constexpr (kKind == kGelu) {
    const T phi = normal_cdf(x);
    return {x * phi, phi + x * normal_pdf(x)};
  } else if constexpr (kKind == kSilu) {
    const T e = exp_nonpositive(-std::abs(x));
    const T larger = 1 / (1 + e);
    const T sigmoid = x < 0 ? e * larger : larger;
    return {x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))};
  } else {
    const T positive = x < 0 ? T{0} : x;
    return {positive * positive, 2 * positive};
  }
}

template <ActivationKind kKind, typename T, typename S>
ANNULI_INLINE void forward_block(const Forward<T, S>& f, int64_t n) {
  if (f.gate == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      store(point_at<kKind>(f.x[i]).value, f.out[i]);
    }
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    store(point_at<kKind>(f.gate[i]).value * f.x[i], f.out[i]);
  }
}

template <ActivationKind kKind, typename T, typename K, typename S>
ANNULI_INLINE void backward_block(const Backward<T, K, S>& b, int64_t n) {
  if (b.gate == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const Point<T> point = point_at<kKind>(load(b.x[i]));
      store(point.value, b.out[i]);
      store(b.dout[i] * point.slope, b.dx[i]);
    }
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const T dout = b.dout[i];
    const T x = load(b.x[i]);
    const Point<T> point = point_at<kKind>(load(b.gate[i]));
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
ANNULI_INLINE void forward_of_kind(ActivationKind kind, const Forward<T, S>& f,
                                   int64_t n) {
  if (kind == kGelu) forward_block<kGelu>(f, n);
  if (kind == kSilu) forward_block<kSilu>(f, n);
  if (kind == kRelu2) forward_block<kRelu2>(f, n);
  keep_block(f.x, f.kept_x, n);
  keep_block(f.gate, f.kept_gate, n);
}

template <typename T, typename K, typename S>
ANNULI_INLINE void backward_of_kind(ActivationKind kind,
                                    const Backward<T, K, S>& b, int64_t n) {
  if (kind == kGelu) backward_block<kGelu>(b, n);
  if (kind == kSilu) backward_block<kSilu>(b, n);
  if (kind == kRelu2) backward_block<kRelu2>(b, n);
}

#define ANNULI_ACTIVATION(T, K, S)                                           \
  ANNULI_VECTOR_CLONES void run(ActivationKind kind, const Forward<T, S>& f, \
                                int64_t n) {                                 \
    forward_of_kind(kind, f, n);                                             \
  }                                                                          \
  ANNULI_VECTOR_CLONES void run(ActivationKind kind,                         \
                                const Backward<T, K, S>& b, int64_t n) {     \
    backward_of_kind(kind, b, n);                                            \
  }
ANNULI_ACTIVATION(float, float, float)
ANNULI_ACTIVATION(float, at::BFloat16, at::BFloat16)
ANNULI_ACTIVATION(float, at::BFloat16, RoundedFloat)
ANNULI_ACTIVATION(double, double, double)
#undef ANNULI_ACTIVATION

template <typename Pass>
void run_all(ActivationKind kind, const Pass& pass, int64_t n) {
  parallel_blocks(n, kElements, [&](int64_t begin, int64_t end) {
    run(kind, pass.from(begin), end - begin);
  });
}

template <typename T>
T* data_of(const at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.mutable_data_ptr()) : nullptr;
}

template <typename T, typename S>
void forward_pass(ActivationKind kind, const at::Tensor& x,
                  const at::Tensor& gate, const Activated& to) {
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
void backward_pass(ActivationKind kind, const at::Tensor& dout,
                   const at::Tensor& x, const at::Tensor& gate,
                   const ActivationGradients& to) {
  run_all(kind,
          Backward<T, K, S>{data_of<const T>(dout), data_of<const K>(x),
                            data_of<const K>(gate), data_of<S>(to.out),
                            data_of<S>(to.dx), data_of<S>(to.dgate)},
          x.numel());
}

void check(const at::Tensor& x, const at::Tensor& other) {
  ANNULI_CHECK(x.is_cpu() && x.is_contiguous());
  if (!other.defined()) return;
  ANNULI_CHECK(other.sizes() == x.sizes() && other.is_contiguous());
}

at::Tensor like_if(bool wanted, const at::Tensor& x, at::ScalarType type) {
  return wanted ? at::empty_like(x, type) : at::Tensor();
}

}  // namespace

Activated activate(ActivationKind kind, const at::Tensor& x,
                   const at::Tensor& gate, bool rounded, bool keep) {
  RECORD_USER_SCOPE("activation");
  check(x, gate);
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

ActivationGradients activate_backward(ActivationKind kind,
                                      const at::Tensor& dout,
                                      const at::Tensor& x,
                                      const at::Tensor& gate, bool rounded) {
  RECORD_USER_SCOPE("activation backward");
  check(x, gate);
  check(x, dout);
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

at::Tensor reference::activate(ActivationKind kind, const at::Tensor& x,
                               const at::Tensor& gate) {
  const at::Tensor& z = gate.defined() ? gate : x;
  const at::Tensor active = kind == kGelu   ? at::gelu(z)
                            : kind == kSilu ? at::silu(z)
                                            : at::square(at::relu(z));
  return gate.defined() ? active * x : active;
}

}  // namespace annuli::kernels

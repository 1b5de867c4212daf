#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/square.h>

#include <cmath>

#include "annuli/kernels/activation.h"
#include "annuli/kernels/cpu/vector_erf.h"

// What each activation computes, twice: of one number, with its slope there,
// for loops over plain memory (fp32 or fp64; no branches, or they are not
// vectorised), and of a tensor, differentiable, on any device. The second is
// what the first is tested by.
namespace annuli::kernels {

// The activation of x and its slope there.
template <typename T>
struct Point {
  T value;
  T slope;
};

template <Activation kKind>
struct Formula;

template <>
struct Formula<Activation::kGelu> {
  template <typename T>
  ANNULI_INLINE static Point<T> point(T x) {
    const T phi = normal_cdf(x);
    return {x * phi, phi + x * normal_pdf(x)};
  }
  static at::Tensor of(const at::Tensor& x) { return at::gelu(x); }
};

template <>
struct Formula<Activation::kSilu> {
  template <typename T>
  ANNULI_INLINE static Point<T> point(T x) {
    const T e = exp_nonpositive(-std::abs(x));
    const T larger = 1 / (1 + e);
    const T sigmoid = x < 0 ? e * larger : larger;
    return {x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))};
  }
  static at::Tensor of(const at::Tensor& x) { return at::silu(x); }
};

template <>
struct Formula<Activation::kRelu2> {
  template <typename T>
  ANNULI_INLINE static Point<T> point(T x) {
    const T positive = x < 0 ? T{0} : x;
    return {positive * positive, 2 * positive};
  }
  static at::Tensor of(const at::Tensor& x) { return at::square(at::relu(x)); }
};

}  // namespace annuli::kernels

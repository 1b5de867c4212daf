#include "annuli/kernels/cpu/cross_entropy_rows.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/cpu/vector_exp.h"
#include "annuli/kernels/product.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

namespace {

// Sums of this many terms are formed in the logits' own type, longer ones in
// double: the rounding of a float sum of 50257 terms would show in the loss.
constexpr int64_t kTerms = 1024;

template <typename T>
ANNULI_INLINE T largest_of(const T* x, int64_t V) {
  T largest = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < V; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// x becomes e^(x - largest); returns the sum.
template <typename T>
ANNULI_INLINE double exponentials_of(T* x, T largest, int64_t V) {
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kTerms) {
    const int64_t end = std::min(V, begin + kTerms);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < end; ++i) {
      x[i] = exp_nonpositive(x[i] - largest);
      sum += x[i];
    }
    total += static_cast<double>(sum);
  }
  return total;
}

// -log softmax(x)[target]. With `gradient` (x's own memory, or none of it)
// the gradient goes there.
template <typename T, typename S>
ANNULI_INLINE double row_loss(T* x, int64_t V, int64_t target, double scale,
                              S* gradient) {
  const T largest = largest_of(x, V);
  const double logit = static_cast<double>(x[target]);
  const double total = exponentials_of(x, largest, V);
  if (gradient != nullptr) {
    const T factor = static_cast<T>(scale / total);
    const T at_target = x[target] * factor - static_cast<T>(scale);
#pragma omp simd
    for (int64_t i = 0; i < V; ++i) store(x[i] * factor, gradient[i]);
    store(at_target, gradient[target]);
  }
  return std::log(total) + static_cast<double>(largest) - logit;
}

#define ANNULI_ROW_LOSS(T, S)                                              \
  ANNULI_VECTOR_CLONES double loss_of_row(T* x, int64_t V, int64_t target, \
                                          double scale, S* gradient) {     \
    return row_loss(x, V, target, scale, gradient);                        \
  }
ANNULI_ROW_LOSS(float, float)
ANNULI_ROW_LOSS(float, RoundedFloat)
ANNULI_ROW_LOSS(float, at::BFloat16)
ANNULI_ROW_LOSS(double, double)
#undef ANNULI_ROW_LOSS

// An undefined gradient is none.
template <typename T, typename S>
void losses_of_rows(at::Tensor& logits, const int64_t* target, double* loss,
                    double scale, const at::Tensor& gradient) {
  const int64_t V = logits.size(1);
  T* x = logits.mutable_data_ptr<T>();
  S* to = gradient.defined() ? static_cast<S*>(gradient.mutable_data_ptr())
                             : nullptr;
  parallel_blocks(logits.size(0), 4, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      loss[n] = loss_of_row(x + n * V, V, target[n], scale,
                            to == nullptr ? to : to + n * V);
    }
  });
}

}  // namespace

void cpu::cross_entropy_rows(at::Tensor& logits, const int64_t* target,
                             double* loss) {
  RECORD_USER_SCOPE("cross entropy");
  ANNULI_CHECK(logits.is_contiguous() && logits.dim() == 2, "the logits are {}",
               words_of(logits));
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "cross_entropy_rows", [&] {
    losses_of_rows<scalar_t, scalar_t>(logits, target, loss, 0, {});
  });
}

at::Tensor cpu::cross_entropy_gradient(at::Tensor& logits,
                                       const int64_t* target, double* loss,
                                       double scale, bool rounded) {
  RECORD_USER_SCOPE("cross entropy");
  ANNULI_CHECK(logits.is_contiguous() && logits.dim() == 2, "the logits are {}",
               words_of(logits));
  if (!rounded) {
    AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "cross_entropy", [&] {
      losses_of_rows<scalar_t, scalar_t>(logits, target, loss, scale, logits);
    });
    return logits;
  }
  if (operand_type() == at::kFloat) {
    losses_of_rows<float, RoundedFloat>(logits, target, loss, scale, logits);
    return logits;
  }
  const at::Tensor gradient = at::empty_like(logits, at::kBFloat16);
  losses_of_rows<float, at::BFloat16>(logits, target, loss, scale, gradient);
  return gradient;
}

}  // namespace annuli::kernels

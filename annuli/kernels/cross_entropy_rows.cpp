#include "annuli/kernels/cross_entropy_rows.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/vector_exp.h"

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

// -log softmax(x)[target]; see the header for what x becomes.
template <typename T>
ANNULI_INLINE double row_loss(T* x, int64_t V, int64_t target,
                              double gradient_scale) {
  const T largest = largest_of(x, V);
  const double logit = static_cast<double>(x[target]);
  const double total = exponentials_of(x, largest, V);
  if (gradient_scale != 0) {
    const T factor = static_cast<T>(gradient_scale / total);
#pragma omp simd
    for (int64_t i = 0; i < V; ++i) x[i] *= factor;
    x[target] -= static_cast<T>(gradient_scale);
  }
  return std::log(total) + static_cast<double>(largest) - logit;
}

ANNULI_VECTOR_CLONES double loss_of_row(float* x, int64_t V, int64_t target,
                                        double gradient_scale) {
  return row_loss(x, V, target, gradient_scale);
}
ANNULI_VECTOR_CLONES double loss_of_row(double* x, int64_t V, int64_t target,
                                        double gradient_scale) {
  return row_loss(x, V, target, gradient_scale);
}

}  // namespace

void cross_entropy_rows(at::Tensor& logits, const int64_t* target, double* loss,
                        double gradient_scale) {
  ANNULI_CHECK(logits.is_contiguous() && logits.dim() == 2);
  const int64_t V = logits.size(1);
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "cross_entropy_rows", [&] {
    auto* x = logits.mutable_data_ptr<scalar_t>();
    parallel_blocks(logits.size(0), 4, [=](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        loss[n] = loss_of_row(x + n * V, V, target[n], gradient_scale);
      }
    });
  });
}

}  // namespace annuli::kernels

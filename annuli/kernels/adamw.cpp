#include "annuli/kernels/adamw.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kElements = 1 << 14;  // per block

struct Factors {
  double decay;       // lr * weight_decay
  double step;        // lr / (1 - b1^t)
  double correction;  // sqrt(1 - b2^t)
};

Factors factors(const AdamwStep& step) {
  ANNULI_CHECK(step.step >= 1, "step {}", step.step);
  const auto t = static_cast<double>(step.step);
  return {step.learning_rate * step.weight_decay,
          step.learning_rate / (1 - std::pow(step.beta1, t)),
          std::sqrt(1 - std::pow(step.beta2, t))};
}

template <typename T>
struct Block {
  T* parameter;
  const T* gradient;
  T* m;
  T* v;
  int64_t size;
};

template <typename T>
ANNULI_INLINE void update_block(const Block<T>& block, const AdamwStep& step,
                                const Factors& f) {
  T* p = block.parameter;
  const T* gradient = block.gradient;
  T* m = block.m;
  T* v = block.v;
  const T scale = static_cast<T>(step.gradient_scale);
  const T beta1 = static_cast<T>(step.beta1);
  const T beta2 = static_cast<T>(step.beta2);
  const T rest1 = static_cast<T>(1 - step.beta1);
  const T rest2 = static_cast<T>(1 - step.beta2);
  const T decay = static_cast<T>(f.decay);
  const T rate = static_cast<T>(f.step);
  const T inverse_correction = static_cast<T>(1 / f.correction);
  const T eps = static_cast<T>(step.eps);
#pragma omp simd
  for (int64_t i = 0; i < block.size; ++i) {
    const T g = gradient[i] * scale;
    m[i] = beta1 * m[i] + rest1 * g;
    v[i] = beta2 * v[i] + rest2 * g * g;
    const T denominator = std::sqrt(v[i]) * inverse_correction + eps;
    p[i] = p[i] - decay * p[i] - rate * (m[i] / denominator);
  }
}

ANNULI_VECTOR_CLONES void update(const Block<float>& block,
                                 const AdamwStep& step, const Factors& f) {
  update_block(block, step, f);
}
ANNULI_VECTOR_CLONES void update(const Block<double>& block,
                                 const AdamwStep& step, const Factors& f) {
  update_block(block, step, f);
}

void check_state(const at::Tensor& parameter, const at::Tensor& gradient,
                 const at::Tensor& m, const at::Tensor& v) {
  for (const at::Tensor* other : {&gradient, &m, &v}) {
    ANNULI_CHECK(other->sizes() == parameter.sizes());
    ANNULI_CHECK(other->scalar_type() == parameter.scalar_type());
    ANNULI_CHECK(other->device() == parameter.device());
  }
}

template <typename T>
void update_all(at::Tensor& parameter, const at::Tensor& gradient,
                at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const Factors f = factors(step);
  T* p = parameter.mutable_data_ptr<T>();
  const T* g = gradient.const_data_ptr<T>();
  T* first = m.mutable_data_ptr<T>();
  T* second = v.mutable_data_ptr<T>();
  parallel_blocks(
      parameter.numel(), kElements, [&](int64_t begin, int64_t end) {
        update(
            {p + begin, g + begin, first + begin, second + begin, end - begin},
            step, f);
      });
}

}  // namespace

void adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           at::Tensor& v, const AdamwStep& step) {
  check_state(parameter, gradient, m, v);
  const bool fused = parameter.is_cpu() && parameter.is_contiguous() &&
                     m.is_contiguous() && v.is_contiguous();
  if (!fused) return reference::adamw(parameter, gradient, m, v, step);
  at::Tensor g = gradient.contiguous();
  AT_DISPATCH_FLOATING_TYPES(parameter.scalar_type(), "adamw", [&] {
    update_all<scalar_t>(parameter, g, m, v, step);
  });
}

void reference::adamw(at::Tensor& parameter, const at::Tensor& gradient,
                      at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const at::NoGradGuard no_grad;
  const Factors f = factors(step);
  at::Tensor g = gradient * step.gradient_scale;
  parameter.sub_(parameter * f.decay);
  m.mul_(step.beta1).add_(g, 1 - step.beta1);
  v.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  at::Tensor denominator = (v.sqrt() / f.correction).add_(step.eps);
  parameter.addcdiv_(m, denominator, -f.step);
}

}  // namespace annuli::kernels

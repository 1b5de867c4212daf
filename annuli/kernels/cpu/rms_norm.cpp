#include "annuli/kernels/cpu/rms_norm.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/cpu/block_sums.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/rms_norm.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kRows = BlockSums::kRows;

// One row: returns 1 / sqrt(mean(x^2) + eps).
template <typename T, typename Out>
ANNULI_INLINE T normalise_row(const T* x, const T* gain, Out* y, int64_t D,
                              T eps) {
  T square = 0;
#pragma omp simd reduction(+ : square)
  for (int64_t d = 0; d < D; ++d) square += x[d] * x[d];
  const T inverse = 1 / std::sqrt(square / static_cast<T>(D) + eps);
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) store(x[d] * inverse * gain[d], y[d]);
  return inverse;
}

// With g = dy * gain and r = inverse:
//   dx = r (g - x r^2 mean(g x)),  dgain += dy x r.
template <typename T>
ANNULI_INLINE void backward_row(const T* dy, const T* x, const T* gain,
                                T inverse, T* dx, T* dgain, int64_t D) {
  T dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t d = 0; d < D; ++d) dot += dy[d] * gain[d] * x[d];
  const T along = inverse * inverse * dot / static_cast<T>(D);
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) {
    dx[d] = inverse * (dy[d] * gain[d] - x[d] * along);
    dgain[d] += dy[d] * x[d] * inverse;
  }
}

ANNULI_VECTOR_CLONES float normalise(const float* x, const float* gain,
                                     float* y, int64_t D, float eps) {
  return normalise_row(x, gain, y, D, eps);
}
ANNULI_VECTOR_CLONES float normalise(const float* x, const float* gain,
                                     at::BFloat16* y, int64_t D, float eps) {
  return normalise_row(x, gain, y, D, eps);
}
ANNULI_VECTOR_CLONES double normalise(const double* x, const double* gain,
                                      double* y, int64_t D, double eps) {
  return normalise_row(x, gain, y, D, eps);
}
ANNULI_VECTOR_CLONES void backward(const float* dy, const float* x,
                                   const float* gain, float inverse, float* dx,
                                   float* dgain, int64_t D) {
  backward_row(dy, x, gain, inverse, dx, dgain, D);
}
ANNULI_VECTOR_CLONES void backward(const double* dy, const double* x,
                                   const double* gain, double inverse,
                                   double* dx, double* dgain, int64_t D) {
  backward_row(dy, x, gain, inverse, dx, dgain, D);
}

template <typename T, typename Out>
void forward_rows(const at::Tensor& x, const at::Tensor& gain, double eps,
                  at::Tensor& y, at::Tensor& inverse) {
  const int64_t D = gain.numel();
  const T* in = x.const_data_ptr<T>();
  const T* scale = gain.const_data_ptr<T>();
  Out* out = y.mutable_data_ptr<Out>();
  T* inv = inverse.mutable_data_ptr<T>();
  parallel_blocks(inverse.numel(), kRows, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      inv[n] =
          normalise(in + n * D, scale, out + n * D, D, static_cast<T>(eps));
    }
  });
}

// `sums`: [D], the gain's gradient.
template <typename T>
void backward_rows(const at::Tensor& dy, const at::Tensor& x,
                   const at::Tensor& gain, const at::Tensor& inverse,
                   at::Tensor& dx, BlockSums& sums) {
  const int64_t D = gain.numel();
  const T* grad = dy.const_data_ptr<T>();
  const T* in = x.const_data_ptr<T>();
  const T* scale = gain.const_data_ptr<T>();
  const T* inv = inverse.const_data_ptr<T>();
  T* out = dx.mutable_data_ptr<T>();
  sums.for_each_block<T>([=](int64_t begin, int64_t end, T* of_gain) {
    for (int64_t n = begin; n < end; ++n) {
      backward(grad + n * D, in + n * D, scale, inv[n], out + n * D, of_gain,
               D);
    }
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& gain, double eps,
                            at::ScalarType out) {
    at::Tensor x = input.contiguous();
    at::Tensor scale = gain.to(x.scalar_type()).contiguous();
    at::Tensor y = at::empty_like(x, out);
    at::Tensor inverse = at::empty({x.numel() / gain.numel()}, x.options());
    if (out == at::kBFloat16) {
      forward_rows<float, at::BFloat16>(x, scale, eps, y, inverse);
    } else {
      AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm", [&] {
        forward_rows<scalar_t, scalar_t>(x, scale, eps, y, inverse);
      });
    }
    ctx->save_for_backward({x, scale, inverse});
    return y;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& gain = saved[1];
    const at::Tensor& inverse = saved[2];
    at::Tensor dy = grads[0].contiguous();
    at::Tensor dx = at::empty_like(dy);
    BlockSums sums(inverse.numel(), gain.numel(), dy.options());
    AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "rms_norm_backward", [&] {
      backward_rows<scalar_t>(dy, saved[0], gain, inverse, dx, sums);
    });
    return {dx, sums.total().clone(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor cpu::rms_norm(const at::Tensor& x, const at::Tensor& gain,
                         double eps, at::ScalarType out) {
  return RmsNorm::apply(x, gain, eps, out);
}

void rms_norm_row(const float* x, const float* gain, int64_t D, double eps,
                  float* y) {
  normalise(x, gain, y, D, static_cast<float>(eps));
}

}  // namespace annuli::kernels

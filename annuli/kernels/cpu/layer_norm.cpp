#include "annuli/kernels/cpu/layer_norm.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/cpu/block_sums.h"
#include "annuli/kernels/layer_norm.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kRows = BlockSums::kRows;

template <typename T>
struct Moments {
  T mean;
  T inverse;  // 1 / sqrt(var + eps)
};

template <typename T, typename Out>
ANNULI_INLINE Moments<T> normalise_row(const T* x, const T* gain, const T* bias,
                                       Out* y, int64_t D, T eps) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < D; ++d) sum += x[d];
  const T mean = sum / static_cast<T>(D);
  T square = 0;
#pragma omp simd reduction(+ : square)
  for (int64_t d = 0; d < D; ++d) square += (x[d] - mean) * (x[d] - mean);
  const T inverse = 1 / std::sqrt(square / static_cast<T>(D) + eps);
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) {
    store((x[d] - mean) * inverse * gain[d] + bias[d], y[d]);
  }
  return {mean, inverse};
}

// With n = (x - mean) inverse and g = dy * gain:
//   dx = inverse (g - mean(g) - n mean(g n)),  dgain += dy n,  dbias += dy.
template <typename T>
ANNULI_INLINE void backward_row(const T* dy, const T* x, const T* gain,
                                Moments<T> moments, T* dx, T* dgain, T* dbias,
                                int64_t D) {
  T sum = 0;
  T dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (int64_t d = 0; d < D; ++d) {
    const T g = dy[d] * gain[d];
    sum += g;
    dot += g * (x[d] - moments.mean);
  }
  const T level = sum / static_cast<T>(D);
  const T along = moments.inverse * moments.inverse * dot / static_cast<T>(D);
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) {
    const T centred = x[d] - moments.mean;
    dx[d] = moments.inverse * (dy[d] * gain[d] - level - centred * along);
    dgain[d] += dy[d] * centred * moments.inverse;
    dbias[d] += dy[d];
  }
}

ANNULI_VECTOR_CLONES Moments<float> normalise(const float* x, const float* gain,
                                              const float* bias, float* y,
                                              int64_t D, float eps) {
  return normalise_row(x, gain, bias, y, D, eps);
}
ANNULI_VECTOR_CLONES Moments<float> normalise(const float* x, const float* gain,
                                              const float* bias,
                                              at::BFloat16* y, int64_t D,
                                              float eps) {
  return normalise_row(x, gain, bias, y, D, eps);
}
ANNULI_VECTOR_CLONES Moments<double> normalise(const double* x,
                                               const double* gain,
                                               const double* bias, double* y,
                                               int64_t D, double eps) {
  return normalise_row(x, gain, bias, y, D, eps);
}
ANNULI_VECTOR_CLONES void backward(const float* dy, const float* x,
                                   const float* gain, Moments<float> moments,
                                   float* dx, float* dgain, float* dbias,
                                   int64_t D) {
  backward_row(dy, x, gain, moments, dx, dgain, dbias, D);
}
ANNULI_VECTOR_CLONES void backward(const double* dy, const double* x,
                                   const double* gain, Moments<double> moments,
                                   double* dx, double* dgain, double* dbias,
                                   int64_t D) {
  backward_row(dy, x, gain, moments, dx, dgain, dbias, D);
}

struct Parameters {
  at::Tensor gain;
  at::Tensor bias;
};

// `moments`: [N, 2].
template <typename T, typename Out>
void forward_rows(const at::Tensor& x, const Parameters& parameters, double eps,
                  at::Tensor& y, at::Tensor& moments) {
  const int64_t D = parameters.gain.numel();
  const T* in = x.const_data_ptr<T>();
  const T* gain = parameters.gain.const_data_ptr<T>();
  const T* bias = parameters.bias.const_data_ptr<T>();
  Out* out = y.mutable_data_ptr<Out>();
  T* kept = moments.mutable_data_ptr<T>();
  parallel_blocks(moments.size(0), kRows, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const Moments<T> of_row = normalise(in + n * D, gain, bias, out + n * D,
                                          D, static_cast<T>(eps));
      kept[2 * n] = of_row.mean;
      kept[2 * n + 1] = of_row.inverse;
    }
  });
}

// `sums`: [2 D], the gradients of gain and bias.
template <typename T>
void backward_rows(const at::Tensor& dy, const at::Tensor& x,
                   const at::Tensor& gain, const at::Tensor& moments,
                   at::Tensor& dx, BlockSums& sums) {
  const int64_t D = gain.numel();
  const T* grad = dy.const_data_ptr<T>();
  const T* in = x.const_data_ptr<T>();
  const T* scale = gain.const_data_ptr<T>();
  const T* kept = moments.const_data_ptr<T>();
  T* out = dx.mutable_data_ptr<T>();
  sums.for_each_block<T>([=](int64_t begin, int64_t end, T* of_gain) {
    for (int64_t n = begin; n < end; ++n) {
      backward(grad + n * D, in + n * D, scale,
               Moments<T>{kept[2 * n], kept[2 * n + 1]}, out + n * D, of_gain,
               of_gain + D, D);
    }
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LayerNorm : torch::autograd::Function<LayerNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& gain, const at::Tensor& bias,
                            double eps, at::ScalarType out) {
    at::Tensor x = input.contiguous();
    const Parameters parameters{gain.to(x.scalar_type()).contiguous(),
                                bias.to(x.scalar_type()).contiguous()};
    at::Tensor y = at::empty_like(x, out);
    at::Tensor moments = at::empty({x.numel() / gain.numel(), 2}, x.options());
    if (out == at::kBFloat16) {
      forward_rows<float, at::BFloat16>(x, parameters, eps, y, moments);
    } else {
      AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "layer_norm", [&] {
        forward_rows<scalar_t, scalar_t>(x, parameters, eps, y, moments);
      });
    }
    ctx->save_for_backward({x, parameters.gain, moments});
    return y;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& gain = saved[1];
    const at::Tensor& moments = saved[2];
    at::Tensor dy = grads[0].contiguous();
    at::Tensor dx = at::empty_like(dy);
    BlockSums sums(moments.size(0), 2 * gain.numel(), dy.options());
    AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "layer_norm_backward", [&] {
      backward_rows<scalar_t>(dy, saved[0], gain, moments, dx, sums);
    });
    const at::Tensor both = sums.total().view({2, gain.numel()});
    return {dx, both[0].clone(), both[1].clone(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor cpu::layer_norm(const at::Tensor& x, const at::Tensor& gain,
                           const at::Tensor& bias, double eps,
                           at::ScalarType out) {
  return LayerNorm::apply(x, gain, bias, eps, out);
}

void layer_norm_row(const float* x, const float* gain, const float* bias,
                    int64_t D, double eps, float* y) {
  normalise(x, gain, bias, y, D, static_cast<float>(eps));
}

}  // namespace annuli::kernels

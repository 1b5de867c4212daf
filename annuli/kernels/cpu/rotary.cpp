#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "annuli/kernels/cpu/attention.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kTokens = 32;  // per block

// One token: H heads of 2 * half entries, turned by direction * angle.
template <typename T>
ANNULI_INLINE void rotate_heads(const T* x, const T* cos, const T* sin,
                                T direction, T* y, int64_t H, int64_t half) {
  for (int64_t h = 0; h < H; ++h) {
    const T* low = x + h * 2 * half;
    const T* high = low + half;
    T* out = y + h * 2 * half;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const T s = direction * sin[i];
      const T a = low[i];  // y may be x
      const T b = high[i];
      out[i] = a * cos[i] - b * s;
      out[half + i] = b * cos[i] + a * s;
    }
  }
}

ANNULI_VECTOR_CLONES void rotate(const float* x, const float* cos,
                                 const float* sin, float direction, float* y,
                                 int64_t H, int64_t half) {
  rotate_heads(x, cos, sin, direction, y, H, half);
}
ANNULI_VECTOR_CLONES void rotate(const double* x, const double* cos,
                                 const double* sin, double direction, double* y,
                                 int64_t H, int64_t half) {
  rotate_heads(x, cos, sin, direction, y, H, half);
}

// direction 1 rotates, -1 rotates back.
at::Tensor rotated(const at::Tensor& input, const at::Tensor& cos,
                   const at::Tensor& sin, int direction) {
  at::Tensor x = input.contiguous();  // [B, T, H, head_dim]
  at::Tensor y = at::empty_like(x);
  const int64_t T = x.size(1);
  const int64_t H = x.size(2);
  const int64_t half = x.size(3) / 2;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rotary", [&] {
    const auto* in = x.const_data_ptr<scalar_t>();
    const auto* c = cos.const_data_ptr<scalar_t>();
    const auto* s = sin.const_data_ptr<scalar_t>();
    auto* out = y.mutable_data_ptr<scalar_t>();
    parallel_blocks(x.size(0) * T, kTokens, [=](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const int64_t t = n % T;
        rotate(in + n * H * 2 * half, c + t * half, s + t * half,
               static_cast<scalar_t>(direction), out + n * H * 2 * half, H,
               half);
      }
    });
  });
  return y;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A rotation's transpose is the rotation back.
struct Rotary : torch::autograd::Function<Rotary> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& cos, const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return rotated(x, cos, sin, 1);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {rotated(grads[0], saved[0], saved[1], -1), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor cpu::apply_rotary(const at::Tensor& x, const RotaryTable& table) {
  return Rotary::apply(x, table.cos.contiguous(), table.sin.contiguous());
}

void rotate_row(const float* x, const float* cos, const float* sin, int64_t H,
                int64_t half, float* y) {
  rotate(x, cos, sin, 1.0f, y, H, half);
}

}  // namespace annuli::kernels

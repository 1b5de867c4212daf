#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "annuli/kernels/cpu/attention.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kTokens = 32;  // per block

// H heads of `width` entries, of which the first 2 * half are turned.
struct Heads {
  int64_t count;
  int64_t width;
  int64_t half;
};

// One token, by direction * angle.
template <typename T>
ANNULI_INLINE void rotate_heads(const T* x, const T* cos, const T* sin,
                                T direction, T* y, Heads heads) {
  const int64_t half = heads.half;
  for (int64_t h = 0; h < heads.count; ++h) {
    const T* low = x + h * heads.width;
    const T* high = low + half;
    T* out = y + h * heads.width;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const T s = direction * sin[i];
      const T a = low[i];  // y may be x
      const T b = high[i];
      out[i] = a * cos[i] - b * s;
      out[half + i] = b * cos[i] + a * s;
    }
    for (int64_t i = 2 * half; i < heads.width; ++i) out[i] = low[i];
  }
}

ANNULI_VECTOR_CLONES void rotate(const float* x, const float* cos,
                                 const float* sin, float direction, float* y,
                                 Heads heads) {
  rotate_heads(x, cos, sin, direction, y, heads);
}
ANNULI_VECTOR_CLONES void rotate(const double* x, const double* cos,
                                 const double* sin, double direction, double* y,
                                 Heads heads) {
  rotate_heads(x, cos, sin, direction, y, heads);
}

// direction 1 rotates, -1 rotates back.
at::Tensor rotated(const at::Tensor& input, const at::Tensor& cos,
                   const at::Tensor& sin, int direction) {
  at::Tensor x = input.contiguous();  // [B, T, H, head_dim]
  at::Tensor y = at::empty_like(x);
  const int64_t T = x.size(1);
  const Heads heads{x.size(2), x.size(3), cos.size(1)};
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rotary", [&] {
    const auto* in = x.const_data_ptr<scalar_t>();
    const auto* c = cos.const_data_ptr<scalar_t>();
    const auto* s = sin.const_data_ptr<scalar_t>();
    auto* out = y.mutable_data_ptr<scalar_t>();
    parallel_blocks(x.size(0) * T, kTokens, [=](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const int64_t angles = n % T * heads.half;
        const int64_t token = n * heads.count * heads.width;
        rotate(in + token, c + angles, s + angles,
               static_cast<scalar_t>(direction), out + token, heads);
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
                int64_t head_dim, int64_t half, float* y) {
  rotate(x, cos, sin, 1.0f, y, {H, head_dim, half});
}

}  // namespace annuli::kernels

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>
#include <torch/csrc/autograd/custom_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"
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

at::Tensor rotary_frequencies(int64_t head_dim, double theta,
                              at::ScalarType dtype, at::Device device) {
  ANNULI_CHECK(head_dim % 2 == 0, "head_dim {}", head_dim);
  auto options = at::TensorOptions(dtype).device(device);
  at::Tensor exponent = at::arange(0, head_dim, 2, options) / head_dim;
  return at::pow(theta, exponent).reciprocal();
}

RotaryTable rotary_table(int64_t first, int64_t T,
                         const at::Tensor& frequencies) {
  at::Tensor position = at::arange(first, first + T, frequencies.options());
  at::Tensor angle = at::outer(position, frequencies);
  return {at::cos(angle), at::sin(angle)};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table) {
  ANNULI_CHECK(x.dim() == 4 && x.scalar_type() == table.cos.scalar_type());
  ANNULI_CHECK(table.cos.size(0) == x.size(1) &&
               table.cos.size(1) * 2 == x.size(3));
  if (!x.is_cpu()) return reference::apply_rotary(x, table);
  return Rotary::apply(x, table.cos.contiguous(), table.sin.contiguous());
}

void rotate_row(const float* x, const float* cos, const float* sin, int64_t H,
                int64_t half, float* y) {
  rotate(x, cos, sin, 1.0f, y, H, half);
}

at::Tensor reference::apply_rotary(const at::Tensor& x,
                                   const RotaryTable& table) {
  const int64_t half = x.size(-1) / 2;
  at::Tensor cos = table.cos.unsqueeze(1);  // [T, 1, head_dim / 2]
  at::Tensor sin = table.sin.unsqueeze(1);
  at::Tensor low = x.narrow(-1, 0, half);
  at::Tensor high = x.narrow(-1, half, half);
  return at::cat({low * cos - high * sin, high * cos + low * sin}, -1);
}

}  // namespace annuli::kernels

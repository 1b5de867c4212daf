#include "annuli/kernels/bf16_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "annuli/core/error.h"

// MKL's, inside libtorch_cpu.so: bf16 in, fp32 out, row-major.
extern "C" void cblas_gemm_bf16bf16f32(int layout, int trans_a, int trans_b,
                                       int m, int n, int k, float alpha,
                                       const uint16_t* a, int lda,
                                       const uint16_t* b, int ldb, float beta,
                                       float* c, int ldc);

namespace annuli::kernels {
namespace {

constexpr int kRowMajor = 101;
constexpr int kPlain = 111;
constexpr int kTransposed = 112;

// A matrix as BLAS wants it: rows in memory, or the transpose of such.
struct Operand {
  explicit Operand(const at::Tensor& matrix)
      : data(reinterpret_cast<const uint16_t*>(
            matrix.const_data_ptr<at::BFloat16>())),
        transposed(matrix.stride(1) != 1 || !matrix.is_contiguous()),
        stride(static_cast<int>(transposed ? matrix.size(0) : matrix.size(1))) {
    ANNULI_CHECK(transposed ? matrix.t().is_contiguous()
                            : matrix.is_contiguous());
  }
  int flag() const { return transposed ? kTransposed : kPlain; }

  const uint16_t* data;
  bool transposed;
  int stride;
};

void native_product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                    bool accumulate) {
  const Operand left(a);
  const Operand right(b);
  cblas_gemm_bf16bf16f32(
      kRowMajor, left.flag(), right.flag(), static_cast<int>(a.size(0)),
      static_cast<int>(b.size(1)), static_cast<int>(a.size(1)), 1.0f, left.data,
      left.stride, right.data, right.stride, accumulate ? 1.0f : 0.0f,
      out.mutable_data_ptr<float>(), static_cast<int>(out.size(1)));
}

void widened_product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                     bool accumulate) {
  if (accumulate) {
    out.addmm_(a.to(at::kFloat), b.to(at::kFloat));
  } else {
    at::mm_out(out, a.to(at::kFloat), b.to(at::kFloat));
  }
}

at::Tensor matrix_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).contiguous();
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Bf16Linear : torch::autograd::Function<Bf16Linear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& weight, const at::Tensor& operand,
                            const std::optional<at::Tensor>& bias) {
    const at::Tensor x = matrix_of(input.to(at::kBFloat16));  // [N, in]
    ctx->save_for_backward({x, operand});
    ctx->saved_data["shape"] = input.sizes();
    ctx->saved_data["bias"] = bias.has_value();
    at::Tensor y = at::empty({x.size(0), operand.size(0)}, at::kFloat);
    bf16_product(y, x, operand.t());
    if (bias) y.add_(*bias);
    std::vector<int64_t> shape = input.sizes().vec();
    shape.back() = operand.size(0);
    return y.view(shape);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& operand = saved[1];
    const at::Tensor dy = matrix_of(grads[0]);  // [N, out]
    const at::Tensor narrow_dy = dy.to(at::kBFloat16);
    at::Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0)) {
      dx = at::empty({x.size(0), x.size(1)}, at::kFloat);
      bf16_product(dx, narrow_dy, operand);
      dx = dx.view(ctx->saved_data["shape"].toIntVector());
    }
    if (ctx->needs_input_grad(1)) {
      dweight = at::empty(operand.sizes(), at::kFloat);
      bf16_product(dweight, narrow_dy.t(), x);
    }
    if (ctx->saved_data["bias"].toBool()) dbias = dy.sum(0);
    return {dx, dweight, at::Tensor(), dbias};
  }
};

}  // namespace

bool bf16_is_fast() {
#ifdef __x86_64__
  static const bool fast =
      __builtin_cpu_supports("amx-bf16") ||
      (__builtin_cpu_supports("avx512bf16") &&
       (__builtin_cpu_is("amd") || __builtin_cpu_is("cooperlake")));
  return fast;
#else
  return false;
#endif
}

void bf16_product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                  bool accumulate) {
  ANNULI_CHECK(a.size(1) == b.size(0) && out.is_contiguous());
  ANNULI_CHECK(out.size(0) == a.size(0) && out.size(1) == b.size(1));
  ANNULI_CHECK(out.scalar_type() == at::kFloat);
  ANNULI_CHECK(a.scalar_type() == at::kBFloat16 &&
               b.scalar_type() == at::kBFloat16);
  if (a.is_cpu() && bf16_is_fast()) {
    native_product(out, a, b, accumulate);
  } else {
    widened_product(out, a, b, accumulate);
  }
}

at::Tensor bf16_linear(const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& operand, const at::Tensor& bias) {
  return Bf16Linear::apply(x, weight, operand,
                           bias.defined() ? std::optional(bias) : std::nullopt);
}

at::Tensor reference::bf16_linear(const at::Tensor& x, const at::Tensor& weight,
                                  const at::Tensor& bias) {
  const auto rounded = [](const at::Tensor& t) {
    return t.to(at::kBFloat16).to(at::kFloat);
  };
  return at::linear(rounded(x), rounded(weight), bias);
}

}  // namespace annuli::kernels

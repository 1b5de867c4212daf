#include "annuli/kernels/combine.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kTokens = 32;  // per block

template <typename T>
ANNULI_INLINE void add_row_to(const T* x, T* y, int64_t D) {
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) y[d] += x[d];
}

// out += weight * (y - first); exactly nothing where y equals first.
template <typename T>
ANNULI_INLINE void add_difference_to(const T* y, const T* first, T weight,
                                     T* out, int64_t D) {
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) out[d] += weight * (y[d] - first[d]);
}

// dy = weight * dout; returns <dout, y - first>, the gate's gradient.
template <typename T>
ANNULI_INLINE T rank_backward(const T* dout, const T* y, const T* first,
                              T weight, T* dy, int64_t D) {
  T dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t d = 0; d < D; ++d) {
    dy[d] = weight * dout[d];
    dot += dout[d] * (y[d] - first[d]);
  }
  return dot;
}

ANNULI_VECTOR_CLONES void add_row(const float* x, float* y, int64_t D) {
  add_row_to(x, y, D);
}
ANNULI_VECTOR_CLONES void add_row(const double* x, double* y, int64_t D) {
  add_row_to(x, y, D);
}
ANNULI_VECTOR_CLONES void add_difference(const float* y, const float* first,
                                         float weight, float* out, int64_t D) {
  add_difference_to(y, first, weight, out, D);
}
ANNULI_VECTOR_CLONES void add_difference(const double* y, const double* first,
                                         double weight, double* out,
                                         int64_t D) {
  add_difference_to(y, first, weight, out, D);
}
ANNULI_VECTOR_CLONES float rank_gradient(const float* dout, const float* y,
                                         const float* first, float weight,
                                         float* dy, int64_t D) {
  return rank_backward(dout, y, first, weight, dy, D);
}
ANNULI_VECTOR_CLONES double rank_gradient(const double* dout, const double* y,
                                          const double* first, double weight,
                                          double* dy, int64_t D) {
  return rank_backward(dout, y, first, weight, dy, D);
}

// out[n] = sum of x[row[n * k + i]] over i, in order.
template <typename T>
void sum_rows(const at::Tensor& x, const at::Tensor& row, int64_t k,
              at::Tensor& out) {
  const int64_t D = x.size(1);
  const T* in = x.const_data_ptr<T>();
  const int64_t* from = row.const_data_ptr<int64_t>();
  T* to = out.mutable_data_ptr<T>();
  parallel_blocks(out.size(0), kTokens, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* first = in + from[n * k] * D;
      std::copy(first, first + D, to + n * D);
      for (int64_t i = 1; i < k; ++i) {
        add_row(in + from[n * k + i] * D, to + n * D, D);
      }
    }
  });
}

template <typename T>
void combine_rows(const at::Tensor& y, const at::Tensor& row,
                  const at::Tensor& gates, at::Tensor& out) {
  const int64_t D = y.size(1);
  const int64_t k = gates.size(1);
  const T* in = y.const_data_ptr<T>();
  const int64_t* from = row.const_data_ptr<int64_t>();
  const T* gate = gates.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  parallel_blocks(gates.size(0), kTokens, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* first = in + from[n * k] * D;
      std::copy(first, first + D, to + n * D);
      for (int64_t i = 1; i < k; ++i) {
        add_difference(in + from[n * k + i] * D, first, gate[n * k + i],
                       to + n * D, D);
      }
    }
  });
}

template <typename T>
void combine_backward(const at::Tensor& dout, const at::Tensor& y,
                      const at::Tensor& row, const at::Tensor& gates,
                      at::Tensor& dy, at::Tensor& dgates) {
  const int64_t D = y.size(1);
  const int64_t k = gates.size(1);
  const T* grad = dout.const_data_ptr<T>();
  const T* in = y.const_data_ptr<T>();
  const int64_t* from = row.const_data_ptr<int64_t>();
  const T* gate = gates.const_data_ptr<T>();
  T* to = dy.mutable_data_ptr<T>();
  T* gate_grad = dgates.mutable_data_ptr<T>();
  parallel_blocks(gates.size(0), kTokens, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* first = in + from[n * k] * D;
      T rest = 1;
      for (int64_t i = 1; i < k; ++i) {
        const int64_t r = from[n * k + i] * D;
        rest -= gate[n * k + i];
        gate_grad[n * k + i] = rank_gradient(grad + n * D, in + r, first,
                                             gate[n * k + i], to + r, D);
      }
      gate_grad[n * k] = rank_gradient(grad + n * D, first, first, rest,
                                       to + from[n * k] * D, D);
    }
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GatherTokens : torch::autograd::Function<GatherTokens> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& token, const at::Tensor& row) {
    ctx->save_for_backward({row});
    ctx->saved_data["tokens"] = x.size(0);
    at::Tensor source = x.contiguous();
    at::Tensor out = at::empty({token.numel(), x.size(1)}, x.options());
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "gather_tokens", [&] {
      sum_rows<scalar_t>(source, token, 1, out);
    });
    return out;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const at::Tensor row = ctx->get_saved_variables()[0];
    const int64_t N = ctx->saved_data["tokens"].toInt();
    at::Tensor dout = grads[0].contiguous();
    at::Tensor dx = at::empty({N, dout.size(1)}, dout.options());
    AT_DISPATCH_FLOATING_TYPES(dout.scalar_type(), "gather_backward", [&] {
      sum_rows<scalar_t>(dout, row, row.numel() / N, dx);
    });
    return {dx, at::Tensor(), at::Tensor()};
  }
};

struct Combine : torch::autograd::Function<Combine> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows,
                            const at::Tensor& row, const at::Tensor& weights) {
    at::Tensor y = rows.contiguous();
    at::Tensor gates = weights.contiguous();
    at::Tensor out = at::empty({gates.size(0), y.size(1)}, y.options());
    AT_DISPATCH_FLOATING_TYPES(y.scalar_type(), "combine", [&] {
      combine_rows<scalar_t>(y, row, gates, out);
    });
    ctx->save_for_backward({y, row, gates});
    return out;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& y = saved[0];
    const at::Tensor& row = saved[1];
    const at::Tensor& gates = saved[2];
    at::Tensor dout = grads[0].contiguous();
    const bool all_used = y.size(0) == row.numel();
    at::Tensor dy = all_used ? at::empty_like(y) : at::zeros_like(y);
    at::Tensor dgates = at::empty_like(gates);
    AT_DISPATCH_FLOATING_TYPES(y.scalar_type(), "combine_backward", [&] {
      combine_backward<scalar_t>(dout, y, row, gates, dy, dgates);
    });
    return {dy, at::Tensor(), dgates};
  }
};

}  // namespace

at::Tensor gather_tokens(const at::Tensor& x, const at::Tensor& token,
                         const at::Tensor& row) {
  ANNULI_CHECK(x.dim() == 2 && token.numel() == row.numel());
  if (!x.is_cpu()) return reference::gather_tokens(x, token);
  return GatherTokens::apply(x, token, row);
}

at::Tensor combine(const at::Tensor& y, const at::Tensor& row,
                   const at::Tensor& gates) {
  ANNULI_CHECK(y.dim() == 2 && row.numel() == gates.numel());
  ANNULI_CHECK(y.scalar_type() == gates.scalar_type());
  if (!y.is_cpu()) return reference::combine(y, row, gates);
  return Combine::apply(y, row, gates);
}

at::Tensor reference::gather_tokens(const at::Tensor& x,
                                    const at::Tensor& token) {
  return at::index_select(x, 0, token);
}

at::Tensor reference::combine(const at::Tensor& y, const at::Tensor& row,
                              const at::Tensor& gates) {
  const int64_t N = gates.size(0);
  const int64_t k = gates.size(1);
  at::Tensor chosen = at::index_select(y, 0, row).view({N, k, -1});
  at::Tensor first = chosen.narrow(1, 0, 1);  // [N, 1, D]
  at::Tensor others = chosen.narrow(1, 1, k - 1) - first;
  at::Tensor weights = gates.narrow(1, 1, k - 1).unsqueeze(-1);
  return first.squeeze(1) + at::sum(weights * others, 1);
}

}  // namespace annuli::kernels

#include "annuli/kernels/cpu/combine.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "annuli/kernels/cpu/bf16.h"
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

template <typename T, typename To>
ANNULI_INLINE void copy_row_to(const T* x, To* y, int64_t D) {
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) store(x[d], y[d]);
}

ANNULI_VECTOR_CLONES void copy_row(const float* x, float* y, int64_t D) {
  copy_row_to(x, y, D);
}
ANNULI_VECTOR_CLONES void copy_row(const double* x, double* y, int64_t D) {
  copy_row_to(x, y, D);
}
ANNULI_VECTOR_CLONES void copy_row(const float* x, at::BFloat16* y, int64_t D) {
  copy_row_to(x, y, D);
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

// Where row r of all the blocks lies.
template <typename T>
std::vector<T*> row_pointers(const std::vector<at::Tensor>& blocks) {
  std::vector<T*> rows;
  for (const at::Tensor& block : blocks) {
    auto* data = static_cast<T*>(block.mutable_data_ptr());
    for (int64_t r = 0; r < block.size(0); ++r) {
      rows.push_back(data + r * block.size(1));
    }
  }
  return rows;
}

// to[r] = x[token[r]].
template <typename T, typename To>
void copy_rows(const at::Tensor& x, const at::Tensor& token,
               const std::vector<at::Tensor>& blocks) {
  const int64_t D = x.size(1);
  const T* in = x.const_data_ptr<T>();
  const int64_t* from = token.const_data_ptr<int64_t>();
  const std::vector<To*> to = row_pointers<To>(blocks);
  parallel_blocks(token.numel(), kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) copy_row(in + from[r] * D, to[r], D);
  });
}

// out[n] = sum over i of the row row[n * k + i], in order.
template <typename T>
void sum_rows(const std::vector<at::Tensor>& blocks, const at::Tensor& row,
              at::Tensor& out) {
  const int64_t D = out.size(1);
  const int64_t k = row.numel() / out.size(0);
  const std::vector<const T*> in = row_pointers<const T>(blocks);
  const int64_t* from = row.const_data_ptr<int64_t>();
  T* to = out.mutable_data_ptr<T>();
  parallel_blocks(out.size(0), kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      copy_row(in[from[n * k]], to + n * D, D);
      for (int64_t i = 1; i < k; ++i) {
        add_row(in[from[n * k + i]], to + n * D, D);
      }
    }
  });
}

template <typename T>
void combine_rows(const std::vector<at::Tensor>& blocks, const at::Tensor& row,
                  const at::Tensor& gates, at::Tensor& out) {
  const int64_t D = out.size(1);
  const int64_t k = gates.size(1);
  const std::vector<const T*> in = row_pointers<const T>(blocks);
  const int64_t* from = row.const_data_ptr<int64_t>();
  const T* gate = gates.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  parallel_blocks(gates.size(0), kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* first = in[from[n * k]];
      copy_row(first, to + n * D, D);
      for (int64_t i = 1; i < k; ++i) {
        add_difference(in[from[n * k + i]], first, gate[n * k + i], to + n * D,
                       D);
      }
    }
  });
}

template <typename T>
void combine_backward(const at::Tensor& dout,
                      const std::vector<at::Tensor>& blocks,
                      const at::Tensor& row, const at::Tensor& gates,
                      const std::vector<at::Tensor>& dblocks,
                      at::Tensor& dgates) {
  const int64_t D = dout.size(1);
  const int64_t k = gates.size(1);
  const T* grad = dout.const_data_ptr<T>();
  const std::vector<const T*> in = row_pointers<const T>(blocks);
  const std::vector<T*> to = row_pointers<T>(dblocks);
  const int64_t* from = row.const_data_ptr<int64_t>();
  const T* gate = gates.const_data_ptr<T>();
  T* gate_grad = dgates.mutable_data_ptr<T>();
  parallel_blocks(gates.size(0), kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* first = in[from[n * k]];
      T rest = 1;
      for (int64_t i = 1; i < k; ++i) {
        const int64_t r = from[n * k + i];
        rest -= gate[n * k + i];
        gate_grad[n * k + i] = rank_gradient(grad + n * D, in[r], first,
                                             gate[n * k + i], to[r], D);
      }
      gate_grad[n * k] =
          rank_gradient(grad + n * D, first, first, rest, to[from[n * k]], D);
    }
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GatherTokens : torch::autograd::Function<GatherTokens> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x,
                               const at::Tensor& token, const at::Tensor& row,
                               const std::vector<int64_t>& sizes,
                               at::ScalarType type) {
    ctx->save_for_backward({row});
    ctx->saved_data["tokens"] = x.size(0);
    const at::Tensor source = x.contiguous();
    variable_list blocks;
    for (int64_t size : sizes) {
      blocks.push_back(at::empty({size, x.size(1)}, x.options().dtype(type)));
    }
    if (type == at::kBFloat16) {
      copy_rows<float, at::BFloat16>(source, token, blocks);
    } else {
      AT_DISPATCH_FLOATING_TYPES(type, "gather_tokens", [&] {
        copy_rows<scalar_t, scalar_t>(source, token, blocks);
      });
    }
    return blocks;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor row = ctx->get_saved_variables()[0];
    const int64_t N = ctx->saved_data["tokens"].toInt();
    for (at::Tensor& grad : grads) grad = grad.contiguous();
    at::Tensor dx = at::empty({N, grads[0].size(1)}, grads[0].options());
    AT_DISPATCH_FLOATING_TYPES(dx.scalar_type(), "gather_backward",
                               [&] { sum_rows<scalar_t>(grads, row, dx); });
    at::Tensor none;
    return {dx, none, none, none, none};
  }
};

struct Combine : torch::autograd::Function<Combine> {
  static at::Tensor forward(AutogradContext* ctx, at::TensorList given,
                            const at::Tensor& row, const at::Tensor& weights) {
    const at::Tensor gates = weights.contiguous();
    variable_list blocks;
    for (const at::Tensor& block : given) blocks.push_back(block.contiguous());
    at::Tensor out =
        at::empty({gates.size(0), blocks[0].size(1)}, gates.options());
    AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), "combine", [&] {
      combine_rows<scalar_t>(blocks, row, gates, out);
    });
    blocks.push_back(row);
    blocks.push_back(gates);
    ctx->save_for_backward(std::move(blocks));
    return out;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    variable_list blocks = ctx->get_saved_variables();
    const at::Tensor gates = blocks.back();
    blocks.pop_back();
    const at::Tensor row = blocks.back();
    blocks.pop_back();
    const at::Tensor dout = grads[0].contiguous();
    int64_t rows = 0;
    for (const at::Tensor& block : blocks) rows += block.size(0);
    const bool all_used = rows == row.numel();
    variable_list result;
    for (const at::Tensor& block : blocks) {
      result.push_back(all_used ? at::empty_like(block)
                                : at::zeros_like(block));
    }
    at::Tensor dgates = at::empty_like(gates);
    AT_DISPATCH_FLOATING_TYPES(dout.scalar_type(), "combine_backward", [&] {
      combine_backward<scalar_t>(dout, blocks, row, gates, result, dgates);
    });
    result.emplace_back();
    result.push_back(dgates);
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> cpu::gather_tokens(const at::Tensor& x,
                                           const at::Tensor& token,
                                           const at::Tensor& row,
                                           const std::vector<int64_t>& sizes,
                                           at::ScalarType type) {
  return GatherTokens::apply(x, token, row, sizes, type);
}

at::Tensor cpu::combine(const std::vector<at::Tensor>& blocks,
                        const at::Tensor& row, const at::Tensor& gates) {
  return Combine::apply(at::TensorList(blocks), row, gates);
}

}  // namespace annuli::kernels

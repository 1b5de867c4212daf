#include "annuli/kernels/embedding.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/gradient_type.h"

namespace annuli::kernels {
namespace {

constexpr int64_t kTokens = 32;   // per block
constexpr int64_t kColumns = 64;  // per block: whole cache lines

template <typename From, typename To>
void copy_rows(const at::Tensor& table, const at::Tensor& tokens,
               at::Tensor& rows) {
  const int64_t D = table.size(1);
  const From* in = table.const_data_ptr<From>();
  const int64_t* id = tokens.const_data_ptr<int64_t>();
  To* out = rows.mutable_data_ptr<To>();
  parallel_blocks(tokens.numel(), kTokens, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t d = 0; d < D; ++d) {
        out[n * D + d] = static_cast<To>(load(in[id[n] * D + d]));
      }
    }
  });
}

at::Tensor rows_of_table(const at::Tensor& table, const at::Tensor& tokens,
                         at::ScalarType type) {
  std::vector<int64_t> shape = tokens.sizes().vec();
  shape.push_back(table.size(1));
  at::Tensor rows = at::empty(shape, table.options().dtype(type));
  AT_DISPATCH_FLOATING_TYPES(type, "embedding", [&] {
    switch (table.scalar_type()) {
      case at::kFloat:
        return copy_rows<float, scalar_t>(table, tokens, rows);
      case at::kDouble:
        return copy_rows<double, scalar_t>(table, tokens, rows);
      default:
        return copy_rows<at::BFloat16, scalar_t>(table, tokens, rows);
    }
  });
  return rows;
}

// Columns begin .. end of dtable[tokens[n]] += drows[n].
template <typename T>
void add_columns(const T* drows, const int64_t* tokens, int64_t N, int64_t D,
                 int64_t begin, int64_t end, T* dtable) {
  for (int64_t n = 0; n < N; ++n) {
    const T* from = drows + n * D;
    T* to = dtable + tokens[n] * D;
#pragma omp simd
    for (int64_t d = begin; d < end; ++d) to[d] += from[d];
  }
}

// Each block of columns sees all tokens in order, so two equal tokens never
// meet.
void add_rows(at::Tensor& dtable, const at::Tensor& tokens,
              const at::Tensor& drows) {
  const int64_t D = dtable.size(1);
  const int64_t N = tokens.numel();
  const int64_t* id = tokens.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(dtable.scalar_type(), "embedding_backward", [&] {
    const auto* in = drows.const_data_ptr<scalar_t>();
    auto* out = dtable.mutable_data_ptr<scalar_t>();
    parallel_blocks(D, kColumns, [=](int64_t begin, int64_t end) {
      add_columns(in, id, N, D, begin, end, out);
    });
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void save_shape(AutogradContext* ctx, const at::Tensor& table,
                const at::Tensor& tokens) {
  ctx->save_for_backward({tokens});
  ctx->saved_data["shape"] = table.sizes();
}

struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& table,
                            const at::Tensor& tokens, at::ScalarType type) {
    save_shape(ctx, table, tokens);
    return rows_of_table(table, tokens, type);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const at::Tensor drows = grads[0].contiguous();
    at::Tensor dtable =
        at::zeros(ctx->saved_data["shape"].toIntVector(), drows.options());
    add_rows(dtable, ctx->get_saved_variables()[0], drows);
    return {dtable, at::Tensor(), at::Tensor()};
  }
};

struct Shared : torch::autograd::Function<Shared> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& table,
                               const at::Tensor& tokens, at::ScalarType type) {
    save_shape(ctx, table, tokens);
    ctx->set_materialize_grads(false);
    return {rows_of_table(table, tokens, type), table.detach()};
  }

  // The head's gradient belongs to this node alone: nothing else reads `table`.
  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    at::Tensor dtable = grads[1];
    if (!grads[0].defined()) return {dtable, at::Tensor(), at::Tensor()};
    const at::Tensor drows = grads[0].contiguous();
    if (!dtable.defined()) {
      dtable =
          at::zeros(ctx->saved_data["shape"].toIntVector(), drows.options());
    }
    add_rows(dtable, ctx->get_saved_variables()[0], drows);
    return {dtable, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor embedding(const at::Tensor& table, const at::Tensor& tokens,
                     at::ScalarType type) {
  RECORD_USER_SCOPE("embedding");
  const bool own = table.is_cpu() && table.is_contiguous() &&
                   (table.scalar_type() == at::kFloat ||
                    table.scalar_type() == at::kDouble ||
                    table.scalar_type() == at::kBFloat16);
  if (!own) return reference::embedding(table, tokens).to(type);
  at::Tensor rows = Embedding::apply(table, tokens.contiguous(), type);
  set_gradient_type(rows, type);
  return rows;
}

SharedEmbedding shared_embedding(const at::Tensor& table,
                                 const at::Tensor& tokens,
                                 at::ScalarType type) {
  RECORD_USER_SCOPE("embedding");
  ANNULI_CHECK(table.is_cpu() && table.is_contiguous());
  const variable_list both = Shared::apply(table, tokens.contiguous(), type);
  set_gradient_type(both[1], type);
  return {both[0], both[1]};
}

at::Tensor reference::embedding(const at::Tensor& table,
                                const at::Tensor& tokens) {
  return at::embedding(table, tokens);
}

}  // namespace annuli::kernels

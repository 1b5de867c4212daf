#include "annuli/kernels/embedding.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/embedding.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/gradient_type.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

at::Tensor rows_of(const at::Tensor& table, const at::Tensor& tokens,
                   at::ScalarType type) {
  return is_host(table) ? cpu::embedding_rows(table, tokens, type)
                        : reference::embedding(table, tokens).to(type);
}

void add_rows(at::Tensor& dtable, const at::Tensor& tokens,
              const at::Tensor& drows) {
  if (is_host(dtable)) {
    cpu::add_embedding_rows(dtable, tokens, drows);
  } else {
    dtable.index_add_(0, tokens.flatten(), drows.flatten(0, -2));
  }
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
    return rows_of(table, tokens, type);
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
    return {rows_of(table, tokens, type), table.detach()};
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
  const bool own =
      table.is_contiguous() && (table.scalar_type() == at::kFloat ||
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
  ANNULI_CHECK(table.is_contiguous(), "the table is {}", words_of(table));
  const variable_list both = Shared::apply(table, tokens.contiguous(), type);
  set_gradient_type(both[1], type);
  return {both[0], both[1]};
}

}  // namespace annuli::kernels

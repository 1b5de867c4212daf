#include "annuli/kernels/combine.h"

#include <ATen/ops/cat.h>
#include <ATen/record_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/combine.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/gradient_type.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

// Gradients stay in x's type on their way through the rows that were rounded.
std::vector<at::Tensor> gathered_by_reference(const at::Tensor& x,
                                              const at::Tensor& token,
                                              const std::vector<int64_t>& sizes,
                                              at::ScalarType type) {
  const at::Tensor rows = reference::gather_tokens(x, token).to(type);
  set_gradient_type(rows, x.scalar_type());
  return rows.split_with_sizes(sizes);
}

}  // namespace

std::vector<at::Tensor> gather_tokens(const at::Tensor& x,
                                      const at::Tensor& token,
                                      const at::Tensor& row,
                                      const std::vector<int64_t>& sizes,
                                      at::ScalarType type) {
  RECORD_USER_SCOPE("gather tokens");
  ANNULI_CHECK(x.dim() == 2 && token.numel() == row.numel(),
               "x is {}, with {} tokens and {} rows", words_of(x),
               token.numel(), row.numel());
  std::vector<at::Tensor> blocks =
      is_host(x) ? cpu::gather_tokens(x, token, row, sizes, type)
                 : gathered_by_reference(x, token, sizes, type);
  for (const at::Tensor& block : blocks) {
    set_gradient_type(block, x.scalar_type());
  }
  return blocks;
}

at::Tensor combine(const std::vector<at::Tensor>& blocks, const at::Tensor& row,
                   const at::Tensor& gates) {
  RECORD_USER_SCOPE("combine");
  ANNULI_CHECK(!blocks.empty() && row.numel() == gates.numel(),
               "{} blocks, {} rows, {} gates", blocks.size(), row.numel(),
               gates.numel());
  for (const at::Tensor& block : blocks) {
    ANNULI_CHECK(block.dim() == 2 && block.scalar_type() == gates.scalar_type(),
                 "a block is {}, the gates are {}", words_of(block),
                 words_of(gates));
  }
  return is_host(gates) ? cpu::combine(blocks, row, gates)
                        : reference::combine(at::cat(blocks), row, gates);
}

}  // namespace annuli::kernels

#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/kernels/product.h"

// Head and cross-entropy in one, in blocks of tokens: the [N, V] logits never
// exist at once.
namespace annuli::kernels {

// hidden: [N, D], head: [V, D], targets: [N] int64 -> scalar, the mean of
// -log softmax(head hidden_n)[target_n] in nats. Differentiable in hidden and
// head; both gradients are formed during the forward pass (the loss is a
// scalar) and only scaled in backward. `rows` tokens per block.
//
// Types are those of linear.h: with a rounded head hidden may be bf16, and the
// operands of all three products are rounded, the logits' gradient too. Logits,
// softmax, loss and gradients are fp32.
//
// Losses are summed in double in the order of the tokens. The bits depend on
// `rows`, and on the number of threads as far as the matrix library's do.
// A target outside the vocabulary is refused (on the host; elsewhere that would
// be to wait for the device); a non-finite logit gives a non-finite loss. First
// derivatives only.
at::Tensor linear_cross_entropy(const at::Tensor& hidden, const Matrix& head,
                                const at::Tensor& targets, int64_t rows = 512);

// The loss of every token, [N], without a graph: evaluation.
at::Tensor per_token_cross_entropy(const at::Tensor& hidden,
                                   const at::Tensor& head,
                                   const at::Tensor& targets,
                                   int64_t rows = 512);

namespace reference {
at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& head,
                                const at::Tensor& targets);

// The losses [n] (fp64) of a block of logits [n, V], and the gradient of scale
// * their sum, not rounded.
at::Tensor block_gradient(const at::Tensor& logits, const at::Tensor& targets,
                          at::Tensor& losses, double scale);
}  // namespace reference

}  // namespace annuli::kernels

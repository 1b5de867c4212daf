#pragma once

#include <ATen/core/Tensor.h>

// Head and cross-entropy in one, in blocks of tokens: the [N, V] logits never
// exist at once.
namespace annuli::kernels {

// hidden: [N, D], head: [V, D], targets: [N] int64 -> scalar, the mean of
// -log softmax(head hidden_n)[target_n] in nats. Differentiable in hidden and
// head; both gradients are formed during the forward pass (the loss is a
// scalar) and only scaled in backward. `rows` tokens per block.
//
// Losses are summed in double in the order of the tokens. The bits depend on
// `rows`, and on the number of threads as far as the matrix library's do.
// With `operand`, the head in bf16, products are bf16_product's: hidden and the
// logits' gradient are rounded to bf16 too; logits, softmax and sums stay fp32.
//
// A target outside the vocabulary is refused; a non-finite logit gives a
// non-finite loss. First derivatives only; other devices take the reference.
at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& head,
                                const at::Tensor& targets, int64_t rows = 512,
                                const at::Tensor& operand = {});

// The loss of every token, [N], without a graph: evaluation.
at::Tensor per_token_cross_entropy(const at::Tensor& hidden,
                                   const at::Tensor& head,
                                   const at::Tensor& targets,
                                   int64_t rows = 512);

namespace reference {
at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& head,
                                const at::Tensor& targets);
}

}  // namespace annuli::kernels

#pragma once

#include <ATen/core/Tensor.h>

// Of linear_cross_entropy.h on the host.
namespace annuli::kernels::cpu {

// targets: int64, in memory in one piece, each within the vocabulary.
void check_targets(const at::Tensor& targets, int64_t vocab_size);

// The losses [n] of a block of logits [n, V], which are lost, and where it is
// wanted the gradient of scale * their sum; `rounded`: in operand form.
at::Tensor block_gradient(at::Tensor& logits, const at::Tensor& targets,
                          at::Tensor& losses, double scale, bool rounded,
                          bool wanted);

// Summed in double in the order of the tokens.
at::Tensor mean_loss(const at::Tensor& losses, at::ScalarType type);

}  // namespace annuli::kernels::cpu

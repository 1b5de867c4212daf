#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels::cpu {

// Cross-entropy of a block of logits. logits: [n, V] contiguous on CPU, fp32 or
// fp64, unspecified afterwards; target: n ids. Writes
// -log softmax(logits_i)[target_i] to loss[i]. A row with a NaN or an infinity
// has a NaN loss.
void cross_entropy_rows(at::Tensor& logits, const int64_t* target,
                        double* loss);

// The same, and the gradient of scale * the sum of the losses:
// scale * (softmax - onehot(target)), in the place of the logits; `rounded`: in
// operand form (product.h), which may be a tensor of its own.
at::Tensor cross_entropy_gradient(at::Tensor& logits, const int64_t* target,
                                  double* loss, double scale, bool rounded);

}  // namespace annuli::kernels::cpu

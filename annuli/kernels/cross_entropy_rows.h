#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels {

// Cross-entropy of a block of logits, in place. logits: [n, V] contiguous on
// CPU, fp32 or fp64; target: n ids. Writes -log softmax(logits_i)[target_i] to
// loss[i]. With `gradient_scale` s the logits are replaced by their gradient
// s * (softmax - onehot(target)); without it (0) their content is unspecified
// afterwards. A row with a NaN or an infinity has a NaN loss.
void cross_entropy_rows(at::Tensor& logits, const int64_t* target, double* loss,
                        double gradient_scale);

}  // namespace annuli::kernels

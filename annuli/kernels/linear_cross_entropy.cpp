#include "annuli/kernels/linear_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mean.h>

namespace annuli::kernels {

at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& head,
                                const at::Tensor& targets, int64_t rows) {
  return reference::linear_cross_entropy(hidden, head, targets);
}

at::Tensor per_token_cross_entropy(const at::Tensor& hidden,
                                   const at::Tensor& head,
                                   const at::Tensor& targets, int64_t rows) {
  at::Tensor logits = at::linear(hidden.detach(), head.detach());
  at::Tensor log_probabilities = at::log_softmax(logits, -1);
  return -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1);
}

at::Tensor reference::linear_cross_entropy(const at::Tensor& hidden,
                                           const at::Tensor& head,
                                           const at::Tensor& targets) {
  at::Tensor log_probabilities = at::log_softmax(at::linear(hidden, head), -1);
  return -at::mean(log_probabilities.gather(1, targets.unsqueeze(1)));
}

}  // namespace annuli::kernels

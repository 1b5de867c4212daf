#include "annuli/kernels/linear_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mean.h>

namespace annuli::kernels {

at::Tensor reference::linear_cross_entropy(const at::Tensor& hidden,
                                           const at::Tensor& head,
                                           const at::Tensor& targets) {
  at::Tensor log_probabilities = at::log_softmax(at::linear(hidden, head), -1);
  return -at::mean(log_probabilities.gather(1, targets.unsqueeze(1)));
}

at::Tensor reference::block_gradient(const at::Tensor& logits,
                                     const at::Tensor& targets,
                                     at::Tensor& losses, double scale) {
  const at::Tensor log_probabilities = at::log_softmax(logits, -1);
  const at::Tensor target = targets.unsqueeze(1);
  losses.copy_(-log_probabilities.gather(1, target).squeeze(1));
  at::Tensor gradient = log_probabilities.exp();
  gradient.scatter_add_(1, target,
                        at::full(target.sizes(), -1.0, logits.options()));
  return gradient.mul_(scale);
}

}  // namespace annuli::kernels

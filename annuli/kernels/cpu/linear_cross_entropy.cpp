#include "annuli/kernels/cpu/linear_cross_entropy.h"

#include <ATen/ops/scalar_tensor.h>

#include <numeric>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/cross_entropy_rows.h"

namespace annuli::kernels {

void cpu::check_targets(const at::Tensor& targets, int64_t vocab_size) {
  const int64_t* target = targets.const_data_ptr<int64_t>();
  for (int64_t n = 0; n < targets.numel(); ++n) {
    ANNULI_CHECK(target[n] >= 0 && target[n] < vocab_size,
                 "target {} is {} of {}", n, target[n], vocab_size);
  }
}

at::Tensor cpu::block_gradient(at::Tensor& logits, const at::Tensor& targets,
                               at::Tensor& losses, double scale, bool rounded,
                               bool wanted) {
  const int64_t* target = targets.const_data_ptr<int64_t>();
  auto* loss = losses.mutable_data_ptr<double>();
  if (wanted) {
    return cross_entropy_gradient(logits, target, loss, scale, rounded);
  }
  cross_entropy_rows(logits, target, loss);
  return {};
}

at::Tensor cpu::mean_loss(const at::Tensor& losses, at::ScalarType type) {
  const auto* loss = losses.const_data_ptr<double>();
  const double sum = std::accumulate(loss, loss + losses.numel(), 0.0);
  return at::scalar_tensor(sum / static_cast<double>(losses.numel()),
                           at::TensorOptions(type));
}

}  // namespace annuli::kernels

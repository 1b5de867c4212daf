#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/kernels/threads.h"

// Seeded tensors and comparisons for tests.
namespace annuli::test {

// Normal numbers that depend on the name only.
inline at::Tensor random_tensor(at::IntArrayRef shape, const std::string& name,
                                at::ScalarType dtype = at::kDouble) {
  at::Tensor values = at::empty(shape, at::kDouble);
  const CounterRng rng(17, name);
  double* out = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) out[i] = rng.normal(i);
  return values.to(dtype);
}

// max |a - b| / max |b|; infinite where a is not finite.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor x = a.detach().to(at::kDouble);
  at::Tensor y = b.detach().to(at::kDouble);
  const double difference = (x - y).abs().max().item<double>();
  const double size = y.abs().max().item<double>();
  if (!(difference >= 0)) return std::numeric_limits<double>::infinity();
  return size > 0 ? difference / size : difference;
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a.detach(), b.detach());
}

using TensorFunction =
    std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

// f's value and the gradients of sum(weights * f) with fixed weights; the
// inputs are copied and stay without a graph.
struct ValueAndGradients {
  at::Tensor value;
  std::vector<at::Tensor> gradients;
};
inline ValueAndGradients value_and_gradients(
    const TensorFunction& f, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) {
    leaves.push_back(input.detach().clone().requires_grad_(true));
  }
  at::Tensor value = f(leaves);
  value.backward(random_tensor(value.sizes(), "weights", value.scalar_type()));
  ValueAndGradients result{value.detach(), {}};
  for (const at::Tensor& leaf : leaves) {
    result.gradients.push_back(leaf.grad().clone());
  }
  return result;
}

// Value and gradients have the same bits with one thread and with two.
inline bool same_bits_for_any_threads(const TensorFunction& f,
                                      const std::vector<at::Tensor>& inputs) {
  kernels::set_num_threads(1);
  const ValueAndGradients one = value_and_gradients(f, inputs);
  kernels::set_num_threads(2);
  const ValueAndGradients two = value_and_gradients(f, inputs);
  if (!same_bits(one.value, two.value)) return false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!same_bits(one.gradients[i], two.gradients[i])) return false;
  }
  return true;
}

}  // namespace annuli::test

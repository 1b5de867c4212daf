#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <optional>

// Autograd expects a gradient of its tensor's own type and casts what is not.
// Activations that are rounded to bf16 have fp32 gradients all the same, and
// some producers take either.
namespace annuli::kernels {

// Of a tensor that a Function has just returned: the type its gradient arrives
// in, or none: any. Nothing happens where no graph was recorded.
inline void set_gradient_type(const at::Tensor& tensor,
                              std::optional<at::ScalarType> type) {
  const auto& producer = tensor.grad_fn();
  if (!producer) return;
  producer->mutable_input_metadata(tensor.output_nr()).set_grad_dtype(type);
}

// What a Function takes where an argument may be undefined.
inline std::optional<at::Tensor> given(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

}  // namespace annuli::kernels

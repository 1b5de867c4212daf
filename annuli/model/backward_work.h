#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace annuli {

// x; `work` is done in the backward pass when x has its whole gradient, before
// anything that it was computed from. Where no graph is recorded, just x.
at::Tensor with_backward_work(const at::Tensor& x, std::function<void()> work);

}  // namespace annuli

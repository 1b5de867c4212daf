#pragma once

#include <ATen/core/Tensor.h>

// Tensors whose memory comes and goes while they, and all that refers to them
// (views, an autograd graph), stay: FSDP's way to hold a weight only as long as
// it is read.
namespace annuli::kernels {

// Frees the tensor's memory. Until it has some again, reading its entries is an
// error of LibTorch. The tensor is contiguous and has storage of its own.
void give_up_memory(const at::Tensor& tensor);

// Takes over the memory of `memory`: as many bytes, contiguous, with storage of
// its own, which nobody else refers to.
void take_memory(const at::Tensor& tensor, at::Tensor&& memory);

bool has_memory(const at::Tensor& tensor);

}  // namespace annuli::kernels

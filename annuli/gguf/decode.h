#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>

#include "annuli/core/gguf_types.h"

namespace annuli::gguf {

// The element type in which a tensor of the file is read: its own, or fp32 of
// blocks.
at::ScalarType dtype_of(Type type);

// The numbers of a tensor, in memory of its own: floats as they stand, blocks
// dequantised by ggml's formulas, each product and difference rounded once to
// fp32, so that they are those of the `gguf` Python package bit for bit.
// `bytes`: all of the tensor's, or of rows of it.
at::Tensor decode(Type type, std::span<const std::byte> bytes,
                  at::IntArrayRef shape);

}  // namespace annuli::gguf

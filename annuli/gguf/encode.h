#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "annuli/core/gguf_writer.h"

namespace annuli::gguf {

// The numbers of a tensor, row by row, in a type of the file, each rounded
// once. Any floating type, on the host, as files are read; q8_0 only where the
// last dimension is a multiple of 32: blocks of 32 numbers with d = max |x| /
// 127 in fp16, and codes round(x / d), halves away from zero, with d before it
// is rounded: ggml's reference to the bit.
std::string encode(const at::Tensor& tensor, Type type);

}  // namespace annuli::gguf

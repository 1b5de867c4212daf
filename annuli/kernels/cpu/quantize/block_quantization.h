#pragma once

#include "annuli/kernels/quantize/block_quantization.h"

namespace annuli::kernels::cpu {

Quantized quantize(const at::Tensor& values, Codes kind);

at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scales,
                      Codes kind);

}  // namespace annuli::kernels::cpu

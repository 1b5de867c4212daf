#pragma once

#include "annuli/kernels/optim/adamw.h"
#include "annuli/kernels/quantize/block_quantization.h"

// AdamW with its moments in 8 bits (block_quantization.h): m in signed codes, v
// in unsigned ones. Each block is widened, updated as adamw does it, applied to
// the weights, and coded anew; so the weights see the moments before they are
// rounded.
namespace annuli::kernels {

// As adamw; parameter fp32 or bf16, gradient either.
double adamw_8bit(at::Tensor& parameter, const at::Tensor& gradient,
                  Quantized& m, Quantized& v, const AdamwStep& step);

namespace reference {
double adamw_8bit(at::Tensor& parameter, const at::Tensor& gradient,
                  Quantized& m, Quantized& v, const AdamwStep& step);
}

}  // namespace annuli::kernels

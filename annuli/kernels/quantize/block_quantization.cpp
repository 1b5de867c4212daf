#include "annuli/kernels/quantize/block_quantization.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/quantize/block_quantization.h"
#include "annuli/kernels/dispatch.h"

namespace annuli::kernels {

Quantized quantize(const at::Tensor& values, Codes kind) {
  ANNULI_CHECK(is_plain(values) && values.scalar_type() == at::kFloat,
               "8-bit codes are the host's alone");
  return cpu::quantize(values, kind);
}

at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scales,
                      Codes kind) {
  ANNULI_CHECK(is_plain(codes) && is_plain(scales) &&
                   scales.numel() == quantized_blocks(codes.numel()),
               "8-bit codes are the host's alone");
  return cpu::dequantize(codes, scales, kind);
}

}  // namespace annuli::kernels

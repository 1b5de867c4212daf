#pragma once

#include <ATen/core/Tensor.h>

// Products that are symmetric whatever the numbers are: x x^T, and a b where a
// and b are polynomials of one symmetric matrix. The blocks on and above the
// diagonal are computed, the others are copied from them, which saves up to
// half of the work.
namespace annuli::kernels {

// out = a b. a: [M, K], b: [K, M], out: [M, M], of one type, fp32 or fp64; each
// contiguous or the transpose of such, `out` contiguous and neither of the
// others. `out` is symmetric to the bit. Sums in the order of the library, the
// same bits wherever its products have them.
void multiply_symmetric(at::Tensor& out, const at::Tensor& a,
                        const at::Tensor& b);

namespace reference {
void multiply_symmetric(at::Tensor& out, const at::Tensor& a,
                        const at::Tensor& b);
}

}  // namespace annuli::kernels

#include "annuli/kernels/normal_fill.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/normal_fill.h"
#include "annuli/kernels/dispatch.h"

namespace annuli::kernels {

void fill_normal(at::Tensor& tensor, const CounterRng& rng, double std) {
  ANNULI_CHECK(is_plain(tensor), "normal numbers are made on the host");
  cpu::fill_normal(tensor, rng, std);
}

}  // namespace annuli::kernels

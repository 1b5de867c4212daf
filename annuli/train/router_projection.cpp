#include "annuli/train/router_projection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/outer.h>
#include <ATen/record_function.h>

#include "annuli/kernels/quantize/stochastic_rounding.h"

namespace annuli::train {

void project_routers(Transformer& model,
                     const std::vector<at::Tensor>& router_mean,
                     const CounterRng& rounding,
                     const std::function<bool(size_t row)>& holds) {
  RECORD_USER_SCOPE("router projection");
  const TensorTable& table = model.table();
  for (size_t layer = 0; layer < router_mean.size(); ++layer) {
    const int64_t row =
        find_row(table, Part::kRouter, static_cast<int64_t>(layer));
    if (!holds(static_cast<size_t>(row))) continue;
    at::Tensor router = model.weight(row).detach();  // [E, D]
    const at::ScalarType arithmetic =
        router.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor mean = router_mean[layer].to(arithmetic);
    const double norm = mean.norm().item<double>();
    if (norm == 0) continue;
    const at::Tensor unit = mean / norm;  // [D]
    const at::Tensor wide = router.to(arithmetic);
    const at::Tensor projected = wide - at::outer(wide.mv(unit), unit);
    if (router.scalar_type() == at::kBFloat16) {
      kernels::round_stochastically(
          projected, CounterRng(rounding.seed(), rounding.bits(layer)),
          kernels::Operand::kWeight, router);
    } else {
      router.copy_(projected);
    }
  }
}

}  // namespace annuli::train

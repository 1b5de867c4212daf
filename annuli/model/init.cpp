#include <ATen/ops/from_blob.h>

#include <vector>

#include "annuli/core/rng.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/model/first_values.h"
#include "annuli/model/transformer.h"

namespace annuli {

void initialize(Transformer& model, uint64_t seed) {
  const TensorTable& table = model.table();
  for (size_t row = 0; row < table.size(); ++row) {
    at::Tensor value = kernels::owned_empty(table[row].shape(), model.dtype());
    const FirstValues first = first_values(table[row]);
    if (first == FirstValues::kNormal) {
      kernels::fill_normal(value, CounterRng(seed, "init/" + table[row].name),
                           model.config().initializer_range);
    } else {
      value.fill_(first == FirstValues::kOne ? 1 : 0);
    }
    if (model.weight_dtype(row) != model.dtype()) {
      value = kernels::owned_copy(value.to(model.weight_dtype(row)));
    }
    model.set_weight(row, value.to(model.device()));
  }
}

}  // namespace annuli

#include "annuli/model/coded_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <utility>

#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/model/transformer.h"

namespace annuli {

void CodedWeights::fetch(const Transformer& model, int64_t layer,
                         int64_t next) const {
  (void)next;
  if (std::exchange(kept_, -1) == layer) return;
  RECORD_USER_SCOPE("widen codes");
  const at::AutoGradMode without_graph(false);
  for (const size_t row : stages_.rows(static_cast<size_t>(layer) + 1)) {
    if (!model.is_coded(row)) continue;
    const at::Tensor& weight = model.weight(row);
    at::Tensor memory = at::empty(
        weight.sizes(),
        at::TensorOptions().dtype(at::kBFloat16).device(weight.device()));
    kernels::from_codes(model.codes(row), memory);
    kernels::take_memory(weight, std::move(memory));
  }
}

void CodedWeights::drop(const Transformer& model, int64_t layer) const {
  for (const size_t row : stages_.rows(static_cast<size_t>(layer) + 1)) {
    const at::Tensor& weight = model.weight(row);
    if (weight.defined() && model.is_coded(row)) {
      kernels::give_up_memory(weight);
    }
  }
}

void CodedWeights::begin_pass(const Transformer& model) const {
  if (kept_ >= 0) drop(model, std::exchange(kept_, -1));
}

}  // namespace annuli

#include "annuli/model/mixture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sigmoid.h>

#include "annuli/model/projection.h"
#include "annuli/model/tensor_table.h"

namespace annuli {

MixtureOutput mixture(const at::Tensor& x, const at::Tensor& router,
                      const at::Tensor& shared_gate,
                      const ExpertWeights& expert_weights,
                      const ModelConfig& config, Dispatch dispatch,
                      at::ScalarType expert_rows, uint64_t tie_break_seed) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)});  // [N, D]
  MixtureOutput output;
  output.router_logits = project(rows, router);
  output.routing = kernels::route(output.router_logits,
                                  config.num_experts_per_tok, tie_break_seed);
  const auto expert = [&](int64_t e, const at::Tensor& input) {
    return annuli::feed_forward(input, expert_weights(e));
  };
  at::Tensor y =
      dispatch == Dispatch::kSorted
          ? kernels::dispatch_sorted(rows, output.routing, config.num_experts,
                                     expert, expert_rows)
          : kernels::dispatch_full_block(rows, output.routing,
                                         config.num_experts, expert);
  if (!config.norm_topk_prob) y = y * output.routing.chosen_probability;
  if (shared_gate.defined()) {
    y = y +
        at::sigmoid(project(rows, shared_gate)) * expert(kSharedExpert, rows);
  }
  output.y = y.view(x.sizes());
  return output;
}

}  // namespace annuli

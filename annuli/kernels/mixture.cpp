#include "annuli/kernels/mixture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/combine.h"
#include "annuli/kernels/cpu/mixture.h"

namespace annuli::kernels {

namespace {

// Fraction of the tokens that each expert was chosen for, summed over ranks.
at::Tensor chosen_share(const at::Tensor& experts, const at::Tensor& like,
                        int64_t num_experts) {
  const std::vector<int64_t> load = expert_load(experts, num_experts);
  const auto N = static_cast<double>(experts.size(0));
  std::vector<double> share;
  for (int64_t slots : load) share.push_back(static_cast<double>(slots) / N);
  return at::tensor(share, at::TensorOptions(at::kDouble)).to(like.options());
}

// Sorted on the host, wherever the experts are.
cpu::SlotOrder sort_slots(const at::Tensor& experts, int64_t num_experts) {
  cpu::SlotOrder order = cpu::sort_slots(experts.cpu(), num_experts);
  order.token = order.token.to(experts.device());
  order.row = order.row.to(experts.device());
  return order;
}

}  // namespace

at::Tensor selection_scores(const at::Tensor& probabilities,
                            const at::Tensor& selection_bias) {
  ANNULI_CHECK(selection_bias.dim() == 1 &&
                   selection_bias.size(0) == probabilities.size(-1),
               "a selection bias of {} entries for {} experts",
               selection_bias.numel(), probabilities.size(-1));
  return probabilities.detach() +
         selection_bias.detach().to(probabilities.scalar_type());
}

Routing route(const at::Tensor& logits, int64_t k, uint64_t tie_break_seed,
              const at::Tensor& selection_bias) {
  RECORD_USER_SCOPE("route");
  const int64_t E = logits.size(1);
  ANNULI_CHECK(k >= 1 && k <= E, "top {} of {} experts", k, E);
  at::Tensor probabilities = at::softmax(logits, -1);
  const at::Tensor scores =
      selection_bias.defined() ? selection_scores(probabilities, selection_bias)
                               : logits.detach();
  // On the host, wherever the logits are.
  const at::Tensor experts =
      cpu::best_experts(scores.cpu().contiguous(), k, tie_break_seed)
          .to(logits.device());
  at::Tensor gates = probabilities.gather(1, experts);
  at::Tensor sum = at::sum(gates, 1, /*keepdim=*/true);
  return {probabilities, gates / sum, experts, sum};
}

at::Tensor dispatch_sorted(const at::Tensor& x, const Routing& routing,
                           int64_t num_experts, const Expert& expert,
                           at::ScalarType rows) {
  const cpu::SlotOrder order = sort_slots(routing.experts, num_experts);
  std::vector<int64_t> called, sizes;
  for (int64_t e = 0; e < num_experts; ++e) {
    if (order.block_sizes[e] == 0) continue;
    called.push_back(e);
    sizes.push_back(order.block_sizes[e]);
  }
  std::vector<at::Tensor> blocks =
      gather_tokens(x, order.token, order.row, sizes, rows);
  for (size_t i = 0; i < blocks.size(); ++i) {
    blocks[i] = expert(called[i], blocks[i]);
  }
  return combine(blocks, order.row, routing.gates);
}

at::Tensor dispatch_full_block(const at::Tensor& x, const Routing& routing,
                               int64_t num_experts, const Expert& expert) {
  const int64_t N = x.size(0);
  std::vector<at::Tensor> outputs;
  for (int64_t e = 0; e < num_experts; ++e) outputs.push_back(expert(e, x));
  at::Tensor token = at::arange(N, routing.experts.options()).unsqueeze(1);
  at::Tensor row = (routing.experts * N + token).flatten();
  return combine(outputs, row, routing.gates);
}

std::vector<int64_t> expert_load(const at::Tensor& experts,
                                 int64_t num_experts) {
  return cpu::count_slots(experts.cpu(), num_experts);
}

at::Tensor load_balancing_loss(const std::vector<Routing>& layers,
                               int64_t num_experts) {
  ANNULI_CHECK(!layers.empty(), "a balance loss of no layer");
  std::vector<at::Tensor> probabilities, experts;
  for (const Routing& layer : layers) {
    probabilities.push_back(layer.probabilities);
    experts.push_back(layer.experts);
  }
  at::Tensor all = at::cat(probabilities);  // [L * N, E]
  at::Tensor share = chosen_share(at::cat(experts), all, num_experts);
  return at::sum(share * at::mean(all, 0)) * num_experts;
}

at::Tensor router_z_loss(const at::Tensor& logits) {
  return at::mean(at::square(at::logsumexp(logits, -1)));
}

}  // namespace annuli::kernels

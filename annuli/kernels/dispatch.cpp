#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include "annuli/kernels/combine.h"
#include "annuli/kernels/mixture.h"

namespace annuli::kernels {

namespace {

// The slots (token, rank) sorted by expert, stable.
struct SlotOrder {
  std::vector<int64_t> block_sizes;  // [E] slots per expert
  at::Tensor token;                  // [N * k] the token of each sorted row
  at::Tensor row;                    // [N * k] the sorted row of each slot
};

SlotOrder sort_slots(const at::Tensor& experts, int64_t num_experts) {
  const int64_t k = experts.size(1);
  at::Tensor slots = experts.cpu().contiguous();
  const int64_t* expert = slots.const_data_ptr<int64_t>();
  SlotOrder order{expert_load(slots, num_experts),
                  at::empty({slots.numel()}, slots.options()),
                  at::empty({slots.numel()}, slots.options())};
  std::vector<int64_t> next(num_experts, 0);
  for (int64_t e = 1; e < num_experts; ++e) {
    next[e] = next[e - 1] + order.block_sizes[e - 1];
  }
  int64_t* token = order.token.mutable_data_ptr<int64_t>();
  int64_t* row = order.row.mutable_data_ptr<int64_t>();
  for (int64_t slot = 0; slot < slots.numel(); ++slot) {
    row[slot] = next[expert[slot]]++;
    token[row[slot]] = slot / k;
  }
  order.token = order.token.to(experts.device());
  order.row = order.row.to(experts.device());
  return order;
}

}  // namespace

at::Tensor dispatch_sorted(const at::Tensor& x, const Routing& routing,
                           int64_t num_experts, const Expert& expert,
                           at::ScalarType rows) {
  const SlotOrder order = sort_slots(routing.experts, num_experts);
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

}  // namespace annuli::kernels

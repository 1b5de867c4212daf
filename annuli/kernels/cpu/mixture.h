#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

// Of mixture.h on the host: the choice of experts, and the order of the tokens
// that follows from it.
namespace annuli::kernels::cpu {

// [N, k] int64 of scores [N, E], best first.
at::Tensor best_experts(const at::Tensor& scores, int64_t k,
                        uint64_t tie_break_seed);

// Slots per expert, [E].
std::vector<int64_t> count_slots(const at::Tensor& experts,
                                 int64_t num_experts);

// The slots (token, rank) sorted by expert, stable.
struct SlotOrder {
  std::vector<int64_t> block_sizes;  // [E] slots per expert
  at::Tensor token;                  // [N * k] the token of each sorted row
  at::Tensor row;                    // [N * k] the sorted row of each slot
};
SlotOrder sort_slots(const at::Tensor& experts, int64_t num_experts);

}  // namespace annuli::kernels::cpu

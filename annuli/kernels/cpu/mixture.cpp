#include "annuli/kernels/cpu/mixture.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include "annuli/core/rng.h"
#include "annuli/kernels/mixture.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kTokens = 256;  // per block

// The best expert of one token that is not yet chosen; among exactly equal
// scores the one with the largest random key.
template <typename T>
int64_t best_expert(const T* scores, const std::vector<bool>& chosen,
                    const CounterRng& keys, uint64_t token) {
  const int64_t E = static_cast<int64_t>(chosen.size());
  auto key = [&](int64_t e) {
    return keys.bits(token * static_cast<uint64_t>(E) +
                     static_cast<uint64_t>(e));
  };
  int64_t best = -1;
  for (int64_t e = 0; e < E; ++e) {
    if (chosen[e]) continue;
    if (best < 0 || scores[e] > scores[best] ||
        (scores[e] == scores[best] && key(e) > key(best))) {
      best = e;
    }
  }
  return best;
}

template <typename T>
void best_experts(const T* scores, std::vector<bool>& chosen, int64_t k,
                  const CounterRng& keys, uint64_t token, int64_t* experts) {
  chosen.assign(chosen.size(), false);
  for (int64_t rank = 0; rank < k; ++rank) {
    experts[rank] = best_expert(scores, chosen, keys, token);
    chosen[experts[rank]] = true;
  }
}

template <typename T>
void choose_all(const T* scores, int64_t N, int64_t E, int64_t k,
                const CounterRng& keys, int64_t* experts) {
  parallel_blocks(N, kTokens, [=](int64_t begin, int64_t end) {
    std::vector<bool> chosen(E);
    for (int64_t n = begin; n < end; ++n) {
      best_experts(scores + n * E, chosen, k, keys, n, experts + n * k);
    }
  });
}

}  // namespace

at::Tensor cpu::best_experts(const at::Tensor& scores, int64_t k,
                             uint64_t tie_break_seed) {
  const int64_t N = scores.size(0);
  const int64_t E = scores.size(1);
  at::Tensor experts = at::empty({N, k}, at::TensorOptions(at::kLong));
  const CounterRng keys(tie_break_seed, "router/ties");
  AT_DISPATCH_FLOATING_TYPES(scores.scalar_type(), "route", [&] {
    choose_all(scores.const_data_ptr<scalar_t>(), N, E, k, keys,
               experts.mutable_data_ptr<int64_t>());
  });
  return experts;
}

void choose_experts(const float* scores, int64_t E, int64_t k,
                    uint64_t tie_break_seed, uint64_t token, int64_t* experts) {
  std::vector<bool> chosen(E);
  best_experts(scores, chosen, k, CounterRng(tie_break_seed, "router/ties"),
               token, experts);
}

std::vector<int64_t> cpu::count_slots(const at::Tensor& experts,
                                      int64_t num_experts) {
  const at::Tensor slots = experts.contiguous();
  const int64_t* expert = slots.const_data_ptr<int64_t>();
  std::vector<int64_t> load(num_experts, 0);
  for (int64_t i = 0; i < slots.numel(); ++i) ++load.at(expert[i]);
  return load;
}

cpu::SlotOrder cpu::sort_slots(const at::Tensor& experts, int64_t num_experts) {
  const int64_t k = experts.size(1);
  const at::Tensor slots = experts.contiguous();
  const int64_t* expert = slots.const_data_ptr<int64_t>();
  SlotOrder order{count_slots(slots, num_experts),
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
  return order;
}

}  // namespace annuli::kernels

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/mixture.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kTokens = 256;  // per block

// The best expert of one token that is not yet chosen; among exactly equal
// logits the one with the largest random key.
template <typename T>
int64_t best_expert(const T* logits, const std::vector<bool>& chosen,
                    const CounterRng& keys, uint64_t token) {
  const int64_t E = static_cast<int64_t>(chosen.size());
  auto key = [&](int64_t e) {
    return keys.bits(token * static_cast<uint64_t>(E) +
                     static_cast<uint64_t>(e));
  };
  int64_t best = -1;
  for (int64_t e = 0; e < E; ++e) {
    if (chosen[e]) continue;
    if (best < 0 || logits[e] > logits[best] ||
        (logits[e] == logits[best] && key(e) > key(best))) {
      best = e;
    }
  }
  return best;
}

template <typename T>
void best_experts(const T* logits, std::vector<bool>& chosen, int64_t k,
                  const CounterRng& keys, uint64_t token, int64_t* experts) {
  chosen.assign(chosen.size(), false);
  for (int64_t rank = 0; rank < k; ++rank) {
    experts[rank] = best_expert(logits, chosen, keys, token);
    chosen[experts[rank]] = true;
  }
}

template <typename T>
void choose_all(const T* logits, int64_t N, int64_t E, int64_t k,
                const CounterRng& keys, int64_t* experts) {
  parallel_blocks(N, kTokens, [=](int64_t begin, int64_t end) {
    std::vector<bool> chosen(E);
    for (int64_t n = begin; n < end; ++n) {
      best_experts(logits + n * E, chosen, k, keys, n, experts + n * k);
    }
  });
}

// Fraction of the tokens that each expert was chosen for, summed over ranks.
at::Tensor chosen_share(const at::Tensor& experts, const at::Tensor& like,
                        int64_t num_experts) {
  const std::vector<int64_t> load = expert_load(experts, num_experts);
  const auto N = static_cast<double>(experts.size(0));
  std::vector<double> share;
  for (int64_t slots : load) share.push_back(static_cast<double>(slots) / N);
  return at::tensor(share, at::TensorOptions(at::kDouble)).to(like.options());
}

}  // namespace

Routing route(const at::Tensor& logits, int64_t k, uint64_t tie_break_seed) {
  RECORD_USER_SCOPE("route");
  const int64_t N = logits.size(0);
  const int64_t E = logits.size(1);
  ANNULI_CHECK(k >= 1 && k <= E, "top {} of {} experts", k, E);
  at::Tensor values = logits.detach().cpu().contiguous();
  at::Tensor experts = at::empty({N, k}, at::TensorOptions(at::kLong));
  const CounterRng keys(tie_break_seed, "router/ties");
  AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "route", [&] {
    choose_all(values.const_data_ptr<scalar_t>(), N, E, k, keys,
               experts.mutable_data_ptr<int64_t>());
  });
  experts = experts.to(logits.device());
  at::Tensor probabilities = at::softmax(logits, -1);
  at::Tensor gates = probabilities.gather(1, experts);
  at::Tensor sum = at::sum(gates, 1, /*keepdim=*/true);
  return {probabilities, gates / sum, experts, sum};
}

void choose_experts(const float* logits, int64_t E, int64_t k,
                    uint64_t tie_break_seed, uint64_t token, int64_t* experts) {
  std::vector<bool> chosen(E);
  best_experts(logits, chosen, k, CounterRng(tie_break_seed, "router/ties"),
               token, experts);
}

std::vector<int64_t> expert_load(const at::Tensor& experts,
                                 int64_t num_experts) {
  at::Tensor slots = experts.cpu().contiguous();
  const int64_t* expert = slots.const_data_ptr<int64_t>();
  std::vector<int64_t> load(num_experts, 0);
  for (int64_t i = 0; i < slots.numel(); ++i) ++load.at(expert[i]);
  return load;
}

at::Tensor load_balancing_loss(const std::vector<Routing>& layers,
                               int64_t num_experts) {
  ANNULI_CHECK(!layers.empty());
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

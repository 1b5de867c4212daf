#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

// The mixture's routing and dispatch.
//
// The chosen experts' outputs are combined as y1 + sum_{i>1} g_i (y_i - y1),
// y1 the best-ranked expert's. While the experts are identical every difference
// is exactly 0, so the mixture equals the one dense layer bit for bit, with any
// router, any k and any gates that sum to 1.
namespace annuli::kernels {

// N tokens, E experts, k chosen.
struct Routing {
  at::Tensor probabilities;  // [N, E] softmax over all experts, differentiable
  at::Tensor gates;          // [N, k] renormalised to sum 1, differentiable
  at::Tensor experts;        // [N, k] int64, best first
  at::Tensor chosen_probability;  // [N, 1] what the gates were divided by
};

// logits: [N, E], fp32 or fp64. Exact ties between experts fall at random from
// (seed, token, expert); where nothing ties the result is plain top-k.
//
// selection_bias: [E], any floating type, or undefined. With one, experts are
// chosen by `selection_scores`, and the gates are still made of the chosen
// experts' probabilities alone (2408.15664).
Routing route(const at::Tensor& logits, int64_t k, uint64_t tie_break_seed,
              const at::Tensor& selection_bias = {});

// probabilities + bias, [N, E], in the probabilities' type and without a graph.
at::Tensor selection_scores(const at::Tensor& probabilities,
                            const at::Tensor& selection_bias);

// The k best experts of one token, best first, as `route` chooses them for
// `token`. scores: [E], plain memory: logits, or with a selection bias the
// selection scores.
void choose_experts(const float* scores, int64_t E, int64_t k,
                    uint64_t tie_break_seed, uint64_t token, int64_t* experts);

// Expert e applied to rows [n, D] -> [n, D].
using Expert = std::function<at::Tensor(int64_t e, const at::Tensor& rows)>;

// Tokens sorted by expert once, one contiguous block per expert, weighted
// combine. x: [N, D] -> [N, D]. Differentiable in x, gates and the experts'
// weights. Experts that no token chose are not called; the
// experts are called with `rows` of x's type or, for fp32, bf16.
at::Tensor dispatch_sorted(const at::Tensor& x, const Routing& routing,
                           int64_t num_experts, const Expert& expert,
                           at::ScalarType rows);

// Every expert over all of x, then the chosen ones combined: E/k times the
// work, and each expert runs in the dense layer's own GEMM shape.
at::Tensor dispatch_full_block(const at::Tensor& x, const Routing& routing,
                               int64_t num_experts, const Expert& expert);

// Slots per expert, [E].
std::vector<int64_t> expert_load(const at::Tensor& experts,
                                 int64_t num_experts);

// Switch-style balance loss over all layers' tokens together, as transformers'
// load_balancing_loss_func for Mixtral: E * sum_e f_e P_e with f_e the share of
// the L * N tokens that chose e, summed over ranks (uniform routing gives k),
// and P_e the mean probability. Scalar, differentiable in the probabilities.
at::Tensor load_balancing_loss(const std::vector<Routing>& layers,
                               int64_t num_experts);

// Router z loss (ST-MoE, 2202.08906): mean over tokens of logsumexp(logits)^2.
at::Tensor router_z_loss(const at::Tensor& logits);

}  // namespace annuli::kernels

#include "annuli/kernels/linear_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/linear_cross_entropy.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

namespace {

// What one pass over the blocks leaves: every token's loss and, where asked
// for, the mean loss's gradients.
struct Pass {
  at::Tensor losses;   // [N] fp64
  at::Tensor dhidden;  // [N, D] or undefined
  at::Tensor dhead;    // [V, D] or undefined
};

void check_inputs(const at::Tensor& hidden, const Matrix& head,
                  const at::Tensor& targets, int64_t rows) {
  const at::Tensor& weight = head.weight;
  ANNULI_CHECK(hidden.dim() == 2 && weight.dim() == 2 && rows > 0,
               "{} times {}, {} rows at a time", words_of(hidden),
               words_of(weight), rows);
  ANNULI_CHECK(hidden.size(1) == weight.size(1) && hidden.size(0) > 0,
               "{} times {}", words_of(hidden), words_of(weight));
  ANNULI_CHECK(head.rounded || hidden.scalar_type() == weight.scalar_type(),
               "{} times {}", words_of(hidden), words_of(weight));
  ANNULI_CHECK(
      targets.numel() == hidden.size(0) && targets.scalar_type() == at::kLong,
      "targets are {} for hidden states {}", words_of(targets),
      words_of(hidden));
  if (is_host(targets)) cpu::check_targets(targets, weight.size(0));
}

struct Wanted {
  bool hidden = false;
  bool head = false;
  bool any() const { return hidden || head; }
};

// Of one block of logits, which are lost: its losses, and the gradient of
// scale * their sum if that is wanted.
at::Tensor block_gradient(at::Tensor& logits, const at::Tensor& targets,
                          at::Tensor& losses, double scale, bool rounded,
                          bool wanted) {
  if (is_host(logits)) {
    return cpu::block_gradient(logits, targets, losses, scale, rounded, wanted);
  }
  const at::Tensor gradient =
      reference::block_gradient(logits, targets, losses, scale);
  if (!wanted) return {};
  return rounded ? operand(gradient) : gradient;
}

Pass run_blocks(const at::Tensor& hidden, const Matrix& head,
                const at::Tensor& targets, int64_t rows, const Wanted& wanted) {
  const int64_t N = hidden.size(0);
  const at::Tensor factor = head.operand();  // [V, D]
  const at::Tensor all = head.rounded ? operand(hidden) : hidden;
  const auto sums = hidden.options().dtype(
      hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  Pass pass;
  pass.losses = at::empty({N}, sums.dtype(at::kDouble));
  if (wanted.hidden) pass.dhidden = at::empty(hidden.sizes(), sums);
  if (wanted.head) pass.dhead = at::empty(factor.sizes(), sums);
  at::Tensor buffer = at::empty({std::min(rows, N), factor.size(0)}, sums);
  for (int64_t begin = 0; begin < N; begin += rows) {
    const int64_t n = std::min(rows, N - begin);
    const at::Tensor block = all.narrow(0, begin, n);
    at::Tensor logits = buffer.narrow(0, 0, n);
    multiply(logits, block, factor.t());
    at::Tensor losses = pass.losses.narrow(0, begin, n);
    const at::Tensor dlogits = block_gradient(
        logits, targets.narrow(0, begin, n), losses,
        1.0 / static_cast<double>(N), head.rounded, wanted.any());
    if (wanted.hidden) {
      at::Tensor dblock = pass.dhidden.narrow(0, begin, n);
      multiply(dblock, dlogits, factor);
    }
    if (wanted.head) multiply(pass.dhead, dlogits.t(), block, begin > 0);
  }
  return pass;
}

at::Tensor mean_loss(const Pass& pass, const at::Tensor& hidden) {
  const at::ScalarType type =
      hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return is_host(hidden) ? cpu::mean_loss(pass.losses, type)
                         : pass.losses.mean().to(type);
}

// The usual upstream gradient is exactly 1 and needs no pass over [V, D]; but
// to ask another device for it would be to wait for that device.
at::Tensor scaled(const at::Tensor& gradient, const at::Tensor& upstream) {
  if (!gradient.defined()) return gradient;
  if (is_host(upstream) && upstream.item<double>() == 1) return gradient;
  return gradient * upstream;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  // `weight` is head's, named so that autograd sees it.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const at::Tensor& weight, const Matrix& head,
                            const at::Tensor& targets, int64_t rows,
                            const Wanted& wanted) {
    Pass pass = run_blocks(hidden, head, targets, rows, wanted);
    ctx->save_for_backward({pass.dhidden, pass.dhead});
    return mean_loss(pass, hidden);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    variable_list result{scaled(saved[0], grads[0]),
                         scaled(saved[1], grads[0])};
    result.resize(6);
    return result;
  }
};

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden, const Matrix& head,
                                const at::Tensor& targets, int64_t rows) {
  const at::Tensor flat = targets.contiguous();
  const at::Tensor rows_in = hidden.contiguous();
  const Matrix matrix{head.weight.contiguous(), head.rounded, head.copy};
  check_inputs(rows_in, matrix, flat, rows);
  const bool record = at::GradMode::is_enabled();
  const Wanted wanted{.hidden = record && hidden.requires_grad(),
                      .head = record && head.weight.requires_grad()};
  return LinearCrossEntropy::apply(rows_in, matrix.weight, matrix, flat, rows,
                                   wanted);
}

at::Tensor per_token_cross_entropy(const at::Tensor& hidden,
                                   const at::Tensor& head,
                                   const at::Tensor& targets, int64_t rows) {
  const at::NoGradGuard no_grad;
  const at::Tensor flat = targets.contiguous();
  check_inputs(hidden, {head}, flat, rows);
  return run_blocks(hidden, {head}, flat, rows, {})
      .losses.to(hidden.scalar_type());
}

}  // namespace annuli::kernels

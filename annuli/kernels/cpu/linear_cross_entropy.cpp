#include "annuli/kernels/linear_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/cross_entropy_rows.h"

namespace annuli::kernels {

namespace {

// What one pass over the blocks leaves: every token's loss and, where asked
// for, the mean loss's gradients.
struct Pass {
  std::vector<double> losses;  // [N]
  at::Tensor dhidden;          // [N, D] or undefined
  at::Tensor dhead;            // [V, D] or undefined
};

void check_inputs(const at::Tensor& hidden, const Matrix& head,
                  const at::Tensor& targets, int64_t rows) {
  const at::Tensor& weight = head.weight;
  ANNULI_CHECK(hidden.dim() == 2 && weight.dim() == 2 && rows > 0);
  ANNULI_CHECK(hidden.size(1) == weight.size(1) && hidden.size(0) > 0);
  ANNULI_CHECK(head.rounded || hidden.scalar_type() == weight.scalar_type());
  ANNULI_CHECK(targets.numel() == hidden.size(0));
  ANNULI_CHECK(targets.scalar_type() == at::kLong);
  const int64_t* target = targets.const_data_ptr<int64_t>();
  for (int64_t n = 0; n < targets.numel(); ++n) {
    ANNULI_CHECK(target[n] >= 0 && target[n] < weight.size(0),
                 "target {} is {} of {}", n, target[n], weight.size(0));
  }
}

struct Wanted {
  bool hidden = false;
  bool head = false;
  bool any() const { return hidden || head; }
};

Pass run_blocks(const at::Tensor& hidden, const Matrix& head,
                const at::Tensor& targets, int64_t rows, const Wanted& wanted) {
  const int64_t N = hidden.size(0);
  const at::Tensor factor = head.operand();  // [V, D]
  const at::Tensor all = head.rounded ? operand(hidden) : hidden;
  const auto sums = at::TensorOptions(
      hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  Pass pass;
  pass.losses.resize(N);
  if (wanted.hidden) pass.dhidden = at::empty(hidden.sizes(), sums);
  if (wanted.head) pass.dhead = at::empty(factor.sizes(), sums);
  at::Tensor buffer = at::empty({std::min(rows, N), factor.size(0)}, sums);
  for (int64_t begin = 0; begin < N; begin += rows) {
    const int64_t n = std::min(rows, N - begin);
    const at::Tensor block = all.narrow(0, begin, n);
    at::Tensor logits = buffer.narrow(0, 0, n);
    multiply(logits, block, factor.t());
    const int64_t* target = targets.const_data_ptr<int64_t>() + begin;
    if (!wanted.any()) {
      cross_entropy_rows(logits, target, pass.losses.data() + begin);
      continue;
    }
    const at::Tensor dlogits =
        cross_entropy_gradient(logits, target, pass.losses.data() + begin,
                               1.0 / static_cast<double>(N), head.rounded);
    if (wanted.hidden) {
      at::Tensor dblock = pass.dhidden.narrow(0, begin, n);
      multiply(dblock, dlogits, factor);
    }
    if (wanted.head) multiply(pass.dhead, dlogits.t(), block, begin > 0);
  }
  return pass;
}

// In the order of the tokens, in double.
at::Tensor mean_loss(const Pass& pass, const at::Tensor& hidden) {
  const double sum =
      std::accumulate(pass.losses.begin(), pass.losses.end(), 0.0);
  const bool wide = hidden.scalar_type() == at::kDouble;
  return at::scalar_tensor(sum / static_cast<double>(pass.losses.size()),
                           at::TensorOptions(wide ? at::kDouble : at::kFloat));
}

// The usual upstream gradient is exactly 1 and needs no pass over [V, D].
at::Tensor scaled(const at::Tensor& gradient, double upstream) {
  if (!gradient.defined() || upstream == 1) return gradient;
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
    const double upstream = grads[0].item<double>();
    variable_list result{scaled(saved[0], upstream),
                         scaled(saved[1], upstream)};
    result.resize(6);
    return result;
  }
};

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden, const Matrix& head,
                                const at::Tensor& targets, int64_t rows) {
  if (!hidden.is_cpu()) {
    return reference::linear_cross_entropy(hidden, head.weight, targets);
  }
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
  if (!hidden.is_cpu()) {
    at::Tensor log_probabilities =
        at::log_softmax(at::linear(hidden, head), -1);
    return -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1);
  }
  const at::Tensor flat = targets.contiguous();
  check_inputs(hidden, {head}, flat, rows);
  const Pass pass = run_blocks(hidden, {head}, flat, rows, {});
  at::Tensor losses = at::empty({hidden.size(0)}, at::kDouble);
  std::copy(pass.losses.begin(), pass.losses.end(),
            losses.mutable_data_ptr<double>());
  return losses.to(hidden.scalar_type());
}

at::Tensor reference::linear_cross_entropy(const at::Tensor& hidden,
                                           const at::Tensor& head,
                                           const at::Tensor& targets) {
  at::Tensor log_probabilities = at::log_softmax(at::linear(hidden, head), -1);
  return -at::mean(log_probabilities.gather(1, targets.unsqueeze(1)));
}

}  // namespace annuli::kernels

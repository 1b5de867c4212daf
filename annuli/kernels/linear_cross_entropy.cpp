#include "annuli/kernels/linear_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/bf16_product.h"
#include "annuli/kernels/cross_entropy_rows.h"

namespace annuli::kernels {

namespace {

// What one pass over the blocks leaves: every token's loss and, where asked
// for, the mean loss's gradients.
struct Pass {
  std::vector<double> losses;  // [N]
  at::Tensor dhidden;          // [N, D] or undefined
  at::Tensor dhead;            // [V, D] or undefined
};

void check_inputs(const at::Tensor& hidden, const at::Tensor& head,
                  const at::Tensor& targets, int64_t rows) {
  ANNULI_CHECK(hidden.dim() == 2 && head.dim() == 2 && rows > 0);
  ANNULI_CHECK(hidden.size(1) == head.size(1) && hidden.size(0) > 0);
  ANNULI_CHECK(targets.numel() == hidden.size(0));
  ANNULI_CHECK(targets.scalar_type() == at::kLong);
  const int64_t* target = targets.const_data_ptr<int64_t>();
  for (int64_t n = 0; n < targets.numel(); ++n) {
    ANNULI_CHECK(target[n] >= 0 && target[n] < head.size(0),
                 "target {} is {} of {}", n, target[n], head.size(0));
  }
}

// out = a b or out += a b, in the operands' own arithmetic.
void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
              bool accumulate = false) {
  if (a.scalar_type() == at::kBFloat16) {
    bf16_product(out, a, b, accumulate);
  } else if (accumulate) {
    out.addmm_(a, b);
  } else {
    at::mm_out(out, a, b);
  }
}

// `head` is what is multiplied: fp32, fp64 or bf16. Gradients are of `hidden`'s
// type.
Pass run_blocks(const at::Tensor& hidden, const at::Tensor& head,
                const at::Tensor& targets, int64_t rows, bool want_hidden,
                bool want_head) {
  const at::ScalarType operands = head.scalar_type();
  const int64_t N = hidden.size(0);
  const int64_t V = head.size(0);
  const bool gradients = want_hidden || want_head;
  Pass pass;
  pass.losses.resize(N);
  if (want_hidden) pass.dhidden = at::empty_like(hidden);
  if (want_head) pass.dhead = at::empty(head.sizes(), hidden.options());
  at::Tensor buffer = at::empty({std::min(rows, N), V}, hidden.options());
  for (int64_t begin = 0; begin < N; begin += rows) {
    const int64_t n = std::min(rows, N - begin);
    const at::Tensor block = hidden.narrow(0, begin, n).to(operands);
    at::Tensor logits = buffer.narrow(0, 0, n);
    multiply(logits, block, head.t());
    cross_entropy_rows(logits, targets.const_data_ptr<int64_t>() + begin,
                       pass.losses.data() + begin,
                       gradients ? 1.0 / static_cast<double>(N) : 0.0);
    if (!gradients) continue;
    const at::Tensor dlogits = logits.to(operands);
    if (want_hidden) {
      at::Tensor dblock = pass.dhidden.narrow(0, begin, n);
      multiply(dblock, dlogits, head);
    }
    if (want_head) multiply(pass.dhead, dlogits.t(), block, begin != 0);
  }
  return pass;
}

// In the order of the tokens, in double.
at::Tensor mean_loss(const Pass& pass, const at::Tensor& like) {
  const double sum =
      std::accumulate(pass.losses.begin(), pass.losses.end(), 0.0);
  return at::scalar_tensor(sum / static_cast<double>(pass.losses.size()),
                           like.options());
}

// The usual upstream gradient is exactly 1 and needs no pass over [V, D].
at::Tensor scaled(const at::Tensor& gradient, double upstream) {
  if (!gradient.defined() || upstream == 1) return gradient;
  return gradient * upstream;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const at::Tensor& head,
                            const std::optional<at::Tensor>& operand,
                            const at::Tensor& targets, int64_t rows,
                            bool want_hidden, bool want_head) {
    Pass pass = run_blocks(hidden, operand.value_or(head), targets, rows,
                           want_hidden, want_head);
    ctx->save_for_backward({pass.dhidden, pass.dhead});
    return mean_loss(pass, hidden);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const double upstream = grads[0].item<double>();
    at::Tensor none;
    return {scaled(saved[0], upstream),
            scaled(saved[1], upstream),
            none,
            none,
            none,
            none,
            none};
  }
};

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& head,
                                const at::Tensor& targets, int64_t rows,
                                const at::Tensor& operand) {
  if (!hidden.is_cpu()) {
    return reference::linear_cross_entropy(hidden, head, targets);
  }
  at::Tensor flat = targets.contiguous();
  check_inputs(hidden, head, flat, rows);
  ANNULI_CHECK(operand.defined() || hidden.scalar_type() == head.scalar_type());
  const bool record = at::GradMode::is_enabled();
  const bool want_hidden = record && hidden.requires_grad();
  const bool want_head = record && head.requires_grad();
  if (!want_hidden && !want_head) {
    const at::NoGradGuard no_grad;
    return mean_loss(run_blocks(hidden, operand.defined() ? operand : head,
                                flat, rows, false, false),
                     hidden);
  }
  return LinearCrossEntropy::apply(
      hidden.contiguous(), head.contiguous(),
      operand.defined() ? std::optional(operand) : std::nullopt, flat, rows,
      want_hidden, want_head);
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
  at::Tensor flat = targets.contiguous();
  check_inputs(hidden, head, flat, rows);
  ANNULI_CHECK(hidden.scalar_type() == head.scalar_type());
  const Pass pass = run_blocks(hidden, head, flat, rows, false, false);
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

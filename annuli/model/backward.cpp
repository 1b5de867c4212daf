#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/model/transformer.h"

namespace annuli {
namespace {

// Hands a leaf's finished gradient to the sink and drops it, in the middle of
// the backward pass: at no time do all gradients exist.
class HandOver : public torch::autograd::PostAccumulateGradHook {
 public:
  HandOver(size_t row, const GradientSink& sink) : row_(row), sink_(sink) {}

  void operator()(const torch::autograd::Variable& leaf) override {
    at::Tensor gradient = std::exchange(leaf.mutable_grad(), at::Tensor());
    sink_(row_, gradient);
  }

 private:
  size_t row_;
  const GradientSink& sink_;
};

}  // namespace

void Transformer::backward(const at::Tensor& total, const GradientSink& sink) {
  RECORD_USER_SCOPE("backward");
  ANNULI_CHECK(total.requires_grad(),
               "backward of a loss computed outside a GradientScope");
  for (size_t row = 0; row < weights_.size(); ++row) {
    if (!weights_[row].requires_grad()) continue;
    torch::autograd::impl::set_post_acc_grad_hooks(
        weights_[row], std::make_unique<HandOver>(row, sink));
  }
  const auto remove_hooks = [&] {
    for (const at::Tensor& weight : weights_) {
      if (!weight.requires_grad()) continue;
      torch::autograd::impl::set_post_acc_grad_hooks(weight, nullptr);
      weight.mutable_grad().reset();
    }
  };
  try {
    torch::autograd::backward({total}, /*grad_tensors=*/{});
  } catch (...) {
    remove_hooks();
    throw;
  }
  remove_hooks();
}

GradientScope::GradientScope(Transformer& model,
                             const std::vector<bool>& frozen)
    : model_(model) {
  for (size_t row = 0; row < model_.weights_.size(); ++row) {
    ANNULI_CHECK(model_.weights_[row].scalar_type() == model_.weight_dtype(row),
                 "a stored weight is for reading only");
  }
  model_.records_ = true;
  for (size_t row = 0; row < model_.weights_.size(); ++row) {
    if (!frozen.empty() && frozen[row]) continue;
    if (!is_trained(model_.table()[row].part)) continue;
    at::Tensor& weight = model_.weights_[row];
    weight.set_requires_grad(true);
    torch::autograd::impl::get_autograd_meta(weight)->set_grad_dtype(
        model_.dtype(), weight);
  }
}

GradientScope::~GradientScope() {
  model_.records_ = false;
  for (at::Tensor& weight : model_.weights_) weight.set_requires_grad(false);
}

}  // namespace annuli

#include "annuli/model/backward_work.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace annuli {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Carries the work through the context, whose values are IValues.
struct Work : torch::CustomClassHolder {
  explicit Work(std::function<void()> w) : run(std::move(w)) {}
  std::function<void()> run;
};

struct BackwardWork : torch::autograd::Function<BackwardWork> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const c10::intrusive_ptr<Work>& work) {
    ctx->saved_data["work"] = c10::IValue::make_capsule(work);
    return x;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const auto capsule = ctx->saved_data.at("work").toCapsule();
    c10::static_intrusive_pointer_cast<Work>(capsule)->run();
    return {grads[0], at::Tensor()};
  }
};

}  // namespace

at::Tensor with_backward_work(const at::Tensor& x, std::function<void()> work) {
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return x;
  return BackwardWork::apply(x, c10::make_intrusive<Work>(std::move(work)));
}

}  // namespace annuli

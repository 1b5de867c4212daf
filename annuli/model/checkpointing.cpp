#include "annuli/model/checkpointing.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Carries the block through the context, whose values are IValues.
struct Holder : torch::CustomClassHolder {
  explicit Holder(CheckpointedBlock b) : block(std::move(b)) {}
  CheckpointedBlock block;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  // Function runs this without a graph.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x,
                               const c10::intrusive_ptr<Holder>& holder) {
    ctx->save_for_backward({x});
    ctx->saved_data["block"] = c10::IValue::make_capsule(holder);
    // Outputs that nothing reads need no zeros for a gradient.
    ctx->set_materialize_grads(false);
    return holder->block(x);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const at::Tensor x =
        ctx->get_saved_variables()[0].detach().set_requires_grad(true);
    const auto capsule = ctx->saved_data.at("block").toCapsule();
    const at::AutoGradMode with_graph(true);
    const variable_list outputs =
        c10::static_intrusive_pointer_cast<Holder>(capsule)->block(x);
    ANNULI_CHECK(outputs.size() == grads.size(), "{} outputs, {} before",
                 outputs.size(), grads.size());
    variable_list roots;
    variable_list root_grads;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_grads.push_back(grads[i]);
    }
    torch::autograd::backward(roots, root_grads);
    return {std::exchange(x.mutable_grad(), at::Tensor()), at::Tensor()};
  }
};

}  // namespace

std::vector<at::Tensor> checkpointed(const at::Tensor& x,
                                     CheckpointedBlock block) {
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return block(x);
  return Checkpoint::apply(x, c10::make_intrusive<Holder>(std::move(block)));
}

}  // namespace annuli

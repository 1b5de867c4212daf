#include "annuli/kernels/feed_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "annuli/core/error.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/layer_products.h"

namespace annuli::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// In this order everywhere: parameters, saved tensors, gradients.
std::array<const LinearLayer*, 3> layers_of(const FeedForward& layer) {
  return {&layer.up, &layer.down, &layer.gate};
}

// What the backward pass finds among the saved tensors.
struct Kept {
  Kept(AutogradContext* ctx, const variable_list& saved)
      : rounded(ctx->saved_data["rounded"].toBool()),
        kind(static_cast<Activation>(ctx->saved_data["kind"].toInt())),
        biases(ctx->saved_data["biases"].toInt()),
        rows(saved[0]),
        x(saved[1]),
        gate(saved[2]),
        up_matrix(saved_matrix(saved, 3, rounded)),
        down_matrix(saved_matrix(saved, 5, rounded)),
        gate_matrix(saved_matrix(saved, 7, rounded)) {}

  bool rounded;
  Activation kind;
  int64_t biases;  // bit i: the i-th layer has one
  at::Tensor rows;
  at::Tensor x;     // of the activation
  at::Tensor gate;  // undefined if ungated
  Matrix up_matrix, down_matrix, gate_matrix;
};

at::Tensor bias_gradient(const at::Tensor& dy) {
  if (dy.scalar_type() != at::kBFloat16) return dy.sum(0);
  return at::sum(dy, {0}, /*keepdim=*/false, at::kFloat);
}

// Gradients of the three weights and biases; undefined where there is none.
struct ParameterGradients {
  std::array<at::Tensor, 3> weights;
  std::array<at::Tensor, 3> biases;
};

struct FeedForwardNode : torch::autograd::Function<FeedForwardNode> {
  // `parameters`: the weights that there are, then the biases that there are.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            at::TensorList parameters, const FeedForward& layer,
                            bool record) {
    const bool rounded = layer.up.matrix.rounded;
    const at::Tensor rows = rows_of(x);
    const at::Tensor factor = rounded ? operand(rows) : rows;
    const at::Tensor up = layer_output(factor, layer.up.matrix, layer.up.bias);
    at::Tensor gate;
    if (layer.gate.matrix.defined()) {
      gate = layer_output(factor, layer.gate.matrix, layer.gate.bias);
    }
    const Activated active = activate(layer.kind, up, gate, rounded, record);
    const at::Tensor y =
        layer_output(active.out, layer.down.matrix, layer.down.bias);
    if (!record) return y.view(x.sizes());
    variable_list saved{rounded ? narrowed(rows) : rows, active.kept_x,
                        active.kept_gate};
    int64_t biases = 0;
    for (int i = 0; i < 3; ++i) {
      save(saved, layers_of(layer)[i]->matrix);
      if (layers_of(layer)[i]->bias.defined()) biases |= 1 << i;
    }
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["rounded"] = rounded;
    ctx->saved_data["kind"] = static_cast<int64_t>(layer.kind);
    ctx->saved_data["biases"] = biases;
    ctx->saved_data["shape"] = x.sizes();
    return y.view(x.sizes());
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const Kept kept(ctx, ctx->get_saved_variables());
    const at::Tensor dy = rows_of(grads[0]);
    ParameterGradients gradients;
    const bool gated = kept.gate.defined();
    const std::array<bool, 3> wanted = {ctx->needs_input_grad(1),
                                        ctx->needs_input_grad(2),
                                        gated && ctx->needs_input_grad(3)};
    const at::Tensor dx = backward_rows(kept, dy, wanted, gradients);
    variable_list result{dx.view(ctx->saved_data["shape"].toIntVector())};
    for (int i = 0; i < 3; ++i) {
      if (i == 2 && !kept.gate.defined()) continue;
      result.push_back(gradients.weights[i]);
    }
    for (int i = 0; i < 3; ++i) {
      if (kept.biases & 1 << i) result.push_back(gradients.biases[i]);
    }
    result.resize(result.size() + 2);  // layer, record
    return result;
  }

  // `wanted`: the gradients of which weights.
  static at::Tensor backward_rows(const Kept& kept, const at::Tensor& dy,
                                  const std::array<bool, 3>& wanted,
                                  ParameterGradients& to) {
    const at::Tensor dout = kept.rounded ? operand(dy) : dy;
    at::Tensor dactive;
    add_input_gradient(dactive, dout, kept.down_matrix);
    const ActivationGradients through =
        activate_backward(kept.kind, dactive, kept.x, kept.gate, kept.rounded);
    dactive.reset();
    if (wanted[1]) to.weights[1] = weight_gradient(dout, through.out);
    const at::Tensor rows = kept.rounded ? operand(kept.rows) : kept.rows;
    at::Tensor dx;
    add_input_gradient(dx, through.dx, kept.up_matrix);
    if (wanted[0]) to.weights[0] = weight_gradient(through.dx, rows);
    if (kept.gate.defined()) {
      add_input_gradient(dx, through.dgate, kept.gate_matrix);
      if (wanted[2]) to.weights[2] = weight_gradient(through.dgate, rows);
    }
    if (kept.biases & 1) to.biases[0] = bias_gradient(through.dx);
    if (kept.biases & 2) to.biases[1] = bias_gradient(dy);
    if (kept.biases & 4) to.biases[2] = bias_gradient(through.dgate);
    return dx;
  }
};

bool needs_graph(const at::Tensor& x, const at::TensorList& parameters) {
  if (!at::GradMode::is_enabled()) return false;
  bool needed = x.requires_grad();
  for (const at::Tensor& parameter : parameters) {
    needed = needed || parameter.requires_grad();
  }
  return needed;
}

// Where there is no activation in one pass: three nodes, with the same operands
// rounded but those of the biases' gradients.
at::Tensor in_steps(const at::Tensor& x, const FeedForward& layer) {
  if (!layer.gate.matrix.defined()) {
    const at::Tensor up = linear(x, {layer.up})[0];
    return linear(reference::activate(layer.kind, up, {}), {layer.down})[0];
  }
  const std::vector<at::Tensor> both = linear(x, {layer.up, layer.gate});
  return linear(reference::activate(layer.kind, both[0], both[1]),
                {layer.down})[0];
}

}  // namespace

at::Tensor feed_forward(const at::Tensor& x, const FeedForward& layer) {
  std::vector<at::Tensor> parameters;
  for (const LinearLayer* part : layers_of(layer)) {
    if (!part->matrix.defined()) continue;
    ANNULI_CHECK(part->matrix.rounded == layer.up.matrix.rounded,
                 "of gate, up and down some are rounded to bf16, others not");
    parameters.push_back(part->matrix.weight);
  }
  for (const LinearLayer* part : layers_of(layer)) {
    if (part->bias.defined()) parameters.push_back(part->bias);
  }
  if (!is_host(x)) return in_steps(x, layer);
  const bool record = needs_graph(x, parameters);
  return FeedForwardNode::apply(x, at::TensorList(parameters), layer, record);
}

}  // namespace annuli::kernels

#include "annuli/kernels/linear.h"

#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/layer_products.h"

namespace annuli::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Linear : torch::autograd::Function<Linear> {
  // `parameters`: every layer's weight, then the biases that there are.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x,
                               at::TensorList parameters,
                               const std::vector<LinearLayer>& layers) {
    const bool rounded = layers[0].matrix.rounded;
    const at::Tensor rows = rows_of(x);
    const at::Tensor kept = rounded ? narrowed(rows) : rows;
    const at::Tensor factor = rounded ? operand(rows) : rows;
    variable_list saved{kept};
    variable_list outputs;
    std::vector<int64_t> shape = x.sizes().vec();
    for (const LinearLayer& layer : layers) {
      shape.back() = layer.matrix.weight.size(0);
      outputs.push_back(
          layer_output(factor, layer.matrix, layer.bias).view(shape));
      save(saved, layer.matrix);
    }
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["shape"] = x.sizes();
    ctx->saved_data["rounded"] = rounded;
    for (size_t i = 0; i < layers.size(); ++i) {
      ctx->saved_data["bias" + std::to_string(i)] = layers[i].bias.defined();
    }
    return outputs;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const bool rounded = ctx->saved_data["rounded"].toBool();
    const at::Tensor x = rounded ? operand(saved[0]) : saved[0];
    at::Tensor dx;
    variable_list dweights, dbiases;
    for (size_t i = 0; i < grads.size(); ++i) {
      const Matrix matrix = saved_matrix(saved, 1 + 2 * i, rounded);
      const at::Tensor dy = rows_of(grads[i]);
      const at::Tensor factor = rounded ? operand(dy) : dy;
      if (ctx->needs_input_grad(0)) add_input_gradient(dx, factor, matrix);
      dweights.push_back(ctx->needs_input_grad(1 + i)
                             ? weight_gradient(factor, x)
                             : at::Tensor());
      if (ctx->saved_data["bias" + std::to_string(i)].toBool()) {
        dbiases.push_back(dy.sum(0));
      }
    }
    variable_list result{
        dx.defined() ? dx.view(ctx->saved_data["shape"].toIntVector()) : dx};
    result.insert(result.end(), dweights.begin(), dweights.end());
    result.insert(result.end(), dbiases.begin(), dbiases.end());
    result.emplace_back();
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> linear(const at::Tensor& x,
                               const std::vector<LinearLayer>& layers) {
  ANNULI_CHECK(!layers.empty(), "products with no layer");
  std::vector<at::Tensor> parameters;
  for (const LinearLayer& layer : layers) {
    ANNULI_CHECK(layer.matrix.rounded == layers[0].matrix.rounded,
                 "of {} layers some are rounded to bf16, others not",
                 layers.size());
    parameters.push_back(layer.matrix.weight);
  }
  for (const LinearLayer& layer : layers) {
    if (layer.bias.defined()) parameters.push_back(layer.bias);
  }
  return Linear::apply(x, at::TensorList(parameters), layers);
}

}  // namespace annuli::kernels

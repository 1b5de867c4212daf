#include "tests/parity/model_case.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "annuli/checkpoint/model_file.h"

namespace annuli::parity {

ModelCase::ModelCase(const std::string& name)
    : folder_(fs::path(ANNULI_MODEL_REFERENCE) / name),
      settings_(read_json(folder_ / "case.json")) {}

Transformer ModelCase::model() const { return load_model(folder_); }

LossOptions ModelCase::loss_options() const {
  LossOptions options;
  options.router_aux_loss_coef = settings_.at("router_aux_loss_coef");
  options.router_z_loss_coef = settings_.at("router_z_loss_coef");
  return options;
}

kernels::AdamwStep ModelCase::adamw() const {
  const Json& adamw = settings_.at("adamw");
  return {.learning_rate = adamw.at("lr"),
          .beta1 = adamw.at("betas").at(0),
          .beta2 = adamw.at("betas").at(1),
          .eps = adamw.at("eps"),
          .weight_decay = adamw.at("weight_decay"),
          .step = 1,
          .gradient_scale = 1};
}

SafetensorsFile ModelCase::batch() const {
  return SafetensorsFile(folder_ / "batch.safetensors");
}

SafetensorsFile ModelCase::gradients() const {
  return SafetensorsFile(folder_ / "gradients.safetensors");
}

SafetensorsFile ModelCase::steps() const {
  return SafetensorsFile(folder_ / "steps.safetensors");
}

SafetensorsFile ModelCase::documents() const {
  return SafetensorsFile(folder_ / "documents.safetensors");
}

SafetensorsFile ModelCase::document_gradients() const {
  return SafetensorsFile(folder_ / "document_gradients.safetensors");
}

SafetensorsFile ModelCase::optimizers() const {
  return SafetensorsFile(folder_ / "optimizers.safetensors");
}

LossAndGradients loss_and_gradients(Transformer& model,
                                    const at::Tensor& tokens,
                                    const at::Tensor& targets,
                                    const LossOptions& options) {
  LossAndGradients result;
  for (size_t row = 0; row < model.table().size(); ++row) {
    result.gradients.push_back(at::zeros_like(model.weight(row)));
  }
  const GradientScope scope(model);
  const Loss loss = model.loss(tokens, targets, options);
  model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    result.gradients[row].copy_(gradient);
  });
  result.loss = loss.total.item<double>();
  return result;
}

std::vector<double> train(Transformer& model, const at::Tensor& tokens,
                          const at::Tensor& targets, LossOptions options,
                          kernels::AdamwStep step,
                          const at::Tensor& documents) {
  std::vector<at::Tensor> m, v;
  for (size_t row = 0; row < model.table().size(); ++row) {
    m.push_back(at::zeros_like(model.weight(row)));
    v.push_back(at::zeros_like(model.weight(row)));
  }
  std::vector<double> losses;
  for (int64_t batch = 0; batch < tokens.size(0); ++batch, ++step.step) {
    if (documents.defined()) options.documents = documents[batch];
    const auto [loss, gradients] =
        loss_and_gradients(model, tokens[batch], targets[batch], options);
    losses.push_back(loss);
    for (size_t row = 0; row < gradients.size(); ++row) {
      at::Tensor weight = model.weight(row);
      kernels::adamw(weight, gradients[row], m[row], v[row], step);
    }
  }
  return losses;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().to(at::kDouble);
  const at::Tensor y = b.detach().to(at::kDouble);
  const double error = at::linalg_vector_norm(x.sub(y)).item<double>() /
                       at::linalg_vector_norm(y).item<double>();
  return error >= 0 ? error : std::numeric_limits<double>::infinity();
}

}  // namespace annuli::parity

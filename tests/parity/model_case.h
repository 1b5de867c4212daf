#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/kernels/optim/adamw.h"
#include "annuli/model/transformer.h"

// One folder that model_reference.py wrote, and what the model here does with
// it. A case is opened, never changed.
namespace annuli::parity {

class ModelCase {
 public:
  explicit ModelCase(const std::string& name);

  Transformer model() const;
  LossOptions loss_options() const;
  const Json& settings() const { return settings_; }
  kernels::AdamwStep adamw() const;  // of step 1

  // tokens, targets [B, T]; logits [B, T, V]; loss, a scalar.
  SafetensorsFile batch() const;
  SafetensorsFile gradients() const;
  // tokens, targets [S, B, T]; losses [S].
  SafetensorsFile steps() const;
  // documents [S, B, T], losses [S], on the same batches; logits [B, T, V] of
  // the first.
  SafetensorsFile documents() const;
  SafetensorsFile document_gradients() const;
  // losses [S] by the name of the optimizer, on the same batches.
  SafetensorsFile optimizers() const;

 private:
  fs::path folder_;
  Json settings_;
};

// Every weight's gradient, in the order of the table; zeros where the loss does
// not reach (an expert that no token chose).
struct LossAndGradients {
  double loss;
  std::vector<at::Tensor> gradients;
};
LossAndGradients loss_and_gradients(Transformer& model,
                                    const at::Tensor& tokens,
                                    const at::Tensor& targets,
                                    const LossOptions& options);

// The loss before each update, one update per batch. `documents` [S, B, T], if
// given.
std::vector<double> train(Transformer& model, const at::Tensor& tokens,
                          const at::Tensor& targets, LossOptions options,
                          kernels::AdamwStep step,
                          const at::Tensor& documents = {});

// |a - b| / |b| in the Euclidean norm; infinite where a is not finite.
double relative_error(const at::Tensor& a, const at::Tensor& b);

}  // namespace annuli::parity

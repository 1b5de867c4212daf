// Our model against transformers (and, where it has no class, against plain
// PyTorch): logits, loss, every gradient, ten AdamW steps.
//
// Tolerances: both programs compute in fp32 (unit roundoff u = 6e-8) and differ
// in the order of their sums. A forward pass chains about 20 products of length
// n <= 112, each with an error near sqrt(n) u relative to its norm: sqrt(20) *
// sqrt(112) * u = 2.8e-6. Logits are granted four times that. A gradient passes
// through the chain three times (forward, and backward against activations and
// weights): sqrt(3) more. A loss averages 66 tokens' errors; over ten steps
// AdamW also moves entries whose gradient is pure rounding by up to the
// learning rate either way: the logits' bound, halved, holds for both, and is
// narrow enough for the controls below.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/parity/model_case.h"

namespace annuli::parity {
namespace {

constexpr double kLogitsLimit = 1e-5;
constexpr double kLossLimit = 5e-6;
constexpr double kGradientLimit = 2e-5;
constexpr double kTrainingLimit = 5e-6;

class ModelParity : public testing::TestWithParam<std::string> {
 protected:
  // For --gtest_output: how far inside its limit a test passed.
  void record(const std::string& key, double value) {
    RecordProperty(key, fmt::format("{:.2e}", value));
  }

  const ModelCase case_{GetParam()};
};

// Largest relative difference of the losses of training as `change` has it.
template <typename Change>
double training_error(const ModelCase& reference, Change change) {
  const SafetensorsFile steps = reference.steps();
  Transformer model = reference.model();
  kernels::AdamwStep adamw = reference.adamw();
  change(adamw);
  const std::vector<double> losses =
      train(model, steps.tensor("tokens"), steps.tensor("targets"),
            reference.loss_options(), adamw);
  const at::Tensor expected = steps.tensor("losses");
  EXPECT_EQ(static_cast<int64_t>(losses.size()), expected.size(0));
  double worst = 0;
  for (int64_t i = 0; i < std::ssize(losses); ++i) {
    const double loss = expected[i].item<double>();
    worst = std::max(worst, std::abs(losses[i] - loss) / loss);
  }
  return worst;
}

TEST_P(ModelParity, Logits) {
  const SafetensorsFile batch = case_.batch();
  const Transformer model = case_.model();
  for (const Dispatch dispatch : {Dispatch::kSorted, Dispatch::kFullBlock}) {
    ForwardOptions options;
    options.dispatch = dispatch;
    const double error = relative_error(
        model.logits(batch.tensor("tokens"), options), batch.tensor("logits"));
    EXPECT_LE(error, kLogitsLimit);
    record("error", error);
  }
}

// A copy whose first half, along the last dimension, is 1 % greater. (Of a
// whole q or k projection under a per-head norm nothing would be seen.)
at::Tensor disturbed(const at::Tensor& weight) {
  at::Tensor changed = weight.clone();
  changed.narrow(-1, 0, weight.size(-1) / 2).mul_(1.01);
  return changed;
}

// The control: 1 % more of half of any one tensor of the table is seen.
TEST_P(ModelParity, LogitsFeelEveryTensor) {
  const SafetensorsFile batch = case_.batch();
  const at::Tensor tokens = batch.tensor("tokens");
  Transformer model = case_.model();
  for (size_t row = 0; row < model.table().size(); ++row) {
    const at::Tensor kept = model.weight(row);
    model.set_weight(row, disturbed(kept));
    EXPECT_GT(relative_error(model.logits(tokens), batch.tensor("logits")),
              2 * kLogitsLimit)
        << model.table()[row].name;
    model.set_weight(row, kept);
  }
}

TEST_P(ModelParity, LossAndEveryGradient) {
  const SafetensorsFile batch = case_.batch();
  const SafetensorsFile expected = case_.gradients();
  Transformer model = case_.model();
  const auto [loss, gradients] =
      loss_and_gradients(model, batch.tensor("tokens"), batch.tensor("targets"),
                         case_.loss_options());
  const double expected_loss = batch.tensor("loss").item<double>();
  EXPECT_LE(std::abs(loss - expected_loss) / expected_loss, kLossLimit);
  EXPECT_EQ(expected.entries().size(), model.table().size());
  double worst = 0;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const std::string& name = model.table()[row].name;
    const double error = relative_error(gradients[row], expected.tensor(name));
    EXPECT_LE(error, kGradientLimit) << name;
    worst = std::max(worst, error);
  }
  record("worst_gradient", worst);
}

// The controls: 1 % more of half the embedding is seen in every gradient, 10 %
// more of the balance loss in every router's.
TEST_P(ModelParity, GradientsFeelTheModelAndTheLoss) {
  const SafetensorsFile batch = case_.batch();
  const SafetensorsFile expected = case_.gradients();
  const auto gradients = [&](Transformer model, const LossOptions& options) {
    return loss_and_gradients(model, batch.tensor("tokens"),
                              batch.tensor("targets"), options)
        .gradients;
  };
  Transformer other = case_.model();
  other.set_weight(0, disturbed(other.weight(0)));
  LossOptions unbalanced = case_.loss_options();
  unbalanced.router_aux_loss_coef *= 1.1;
  const auto of_other = gradients(other, case_.loss_options());
  const auto of_unbalanced = gradients(case_.model(), unbalanced);
  for (size_t row = 0; row < other.table().size(); ++row) {
    const TensorSpec& spec = other.table()[row];
    const at::Tensor gradient = expected.tensor(spec.name);
    EXPECT_GT(relative_error(of_other[row], gradient), 2 * kGradientLimit)
        << spec.name;
    if (spec.part != Part::kRouter) continue;
    EXPECT_GT(relative_error(of_unbalanced[row], gradient), 2 * kGradientLimit)
        << spec.name;
  }
}

// The optimizer knows no families. Where a norm follows a projection, or gates
// are small, whole directions have gradients of pure rounding, by which AdamW
// moves as far as by any other; there the steps of two programs part.
class TrainingParity : public ModelParity {};

TEST_P(TrainingParity, TenAdamwSteps) {
  const double error = training_error(case_, [](kernels::AdamwStep&) {});
  EXPECT_LE(error, kTrainingLimit);
  record("error", error);
}

// The controls: settings that are slightly off are seen.
TEST_P(TrainingParity, TenAdamwStepsFeelTheirSettings) {
  const auto error = [&](auto change) { return training_error(case_, change); };
  using Step = kernels::AdamwStep;
  EXPECT_GT(error([](Step& step) { step.learning_rate *= 1.01; }),
            2 * kTrainingLimit);
  EXPECT_GT(error([](Step& step) { step.beta1 = 0.89; }), 2 * kTrainingLimit);
  EXPECT_GT(error([](Step& step) { step.beta2 = 0.9; }), 2 * kTrainingLimit);
  EXPECT_GT(error([](Step& step) { step.weight_decay = 0; }),
            2 * kTrainingLimit);
}

const auto kPlainCases =
    testing::Values("llama", "llama_tied", "arcee", "arcee_tied", "qwen3",
                    "mixtral", "qwen3_moe", "annuli_moe", "annuli_moe_tied");
const auto kFamilyCases = testing::Values(
    "llama_yarn", "gpt_neox_yarn", "llama_biases", "llama_sharded", "mistral",
    "qwen2", "qwen3_biases", "arcee_relu2", "olmo2", "granite", "mixtral_fused",
    "qwen2_moe", "qwen2_moe_fused", "qwen3_moe_raw", "annuli_moe_all",
    "gpt_neox", "gpt_neox_serial", "annuli_moe_neox");
const auto kName = [](const auto& info) { return info.param; };

INSTANTIATE_TEST_SUITE_P(Cases, ModelParity, kPlainCases, kName);
INSTANTIATE_TEST_SUITE_P(Families, ModelParity, kFamilyCases, kName);
INSTANTIATE_TEST_SUITE_P(Cases, TrainingParity, kPlainCases, kName);

}  // namespace
}  // namespace annuli::parity

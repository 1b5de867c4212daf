// Our model against transformers (and, where it has no class, against plain
// PyTorch): logits, loss, every gradient, ten AdamW steps.
//
// Tolerances: both programs compute in fp32 (unit roundoff u = 6e-8) and differ
// in the order of their sums. A forward pass chains about 20 products of length
// n <= 112, each with an error near sqrt(n) u relative to its norm: sqrt(20) *
// sqrt(112) * u = 2.8e-6; 1e-5 grants a factor of four. Gradients pass through
// the chain twice and sum over 66 tokens with cancellation: 1e-4. Ten losses:
// AdamW divides by sqrt(v), so that an entry whose gradient is pure rounding
// may move either way by the learning rate, which 1e-4 leaves room for.

#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/parity/model_case.h"

namespace annuli::parity {
namespace {

constexpr double kLogitsLimit = 1e-5;
constexpr double kLossLimit = 1e-5;
constexpr double kGradientLimit = 1e-4;
constexpr double kTrainingLimit = 1e-4;

class ModelParity : public testing::TestWithParam<std::string> {
 protected:
  const ModelCase case_{GetParam()};
};

// Largest relative difference of the losses of training as `change` has it.
template <typename Change>
double training_error(const ModelCase& reference, Change change) {
  const SafetensorsFile steps = reference.steps();
  Transformer model = reference.model();
  LossOptions options = reference.loss_options();
  kernels::AdamwStep adamw = reference.adamw();
  change(options, adamw);
  const std::vector<double> losses = train(
      model, steps.tensor("tokens"), steps.tensor("targets"), options, adamw);
  const at::Tensor expected = steps.tensor("losses");
  EXPECT_EQ(static_cast<int64_t>(losses.size()), expected.size(0));
  double worst = 0;
  for (size_t i = 0; i < losses.size(); ++i) {
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
    RecordProperty("logits_error", std::to_string(error * 1e6) + "e-6");
  }
}

// The control: 1 % more of any one tensor of the table is seen.
TEST_P(ModelParity, LogitsFeelEveryTensor) {
  const SafetensorsFile batch = case_.batch();
  const at::Tensor tokens = batch.tensor("tokens");
  Transformer model = case_.model();
  for (size_t row = 0; row < model.table().size(); ++row) {
    const at::Tensor kept = model.weight(row);
    model.set_weight(row, kept.mul(1.01));
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
  for (size_t row = 0; row < model.table().size(); ++row) {
    const std::string& name = model.table()[row].name;
    EXPECT_LE(relative_error(gradients[row], expected.tensor(name)),
              kGradientLimit)
        << name;
  }
}

TEST_P(ModelParity, TenAdamwSteps) {
  EXPECT_LE(training_error(case_, [](LossOptions&, kernels::AdamwStep&) {}),
            kTrainingLimit);
}

// The controls: settings that are slightly off are seen.
TEST_P(ModelParity, TenAdamwStepsFeelTheirSettings) {
  EXPECT_GT(training_error(case_,
                           [](LossOptions&, kernels::AdamwStep& adamw) {
                             adamw.learning_rate *= 1.01;
                           }),
            kTrainingLimit);
  EXPECT_GT(training_error(case_,
                           [](LossOptions&, kernels::AdamwStep& adamw) {
                             adamw.beta2 = 0.99;
                           }),
            kTrainingLimit);
  EXPECT_GT(training_error(case_,
                           [](LossOptions&, kernels::AdamwStep& adamw) {
                             adamw.weight_decay = 0;
                           }),
            kTrainingLimit);
}

INSTANTIATE_TEST_SUITE_P(Cases, ModelParity,
                         testing::Values("llama", "llama_tied", "arcee",
                                         "arcee_tied", "qwen3", "mixtral",
                                         "qwen3_moe", "annuli_moe",
                                         "annuli_moe_tied"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace annuli::parity

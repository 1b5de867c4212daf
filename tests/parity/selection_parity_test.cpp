// Ten steps of a mixture with selection biases against plain PyTorch
// (selection_reference.py): losses, loads and the biases themselves.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/train/optimizer.h"
#include "annuli/train/selection_bias.h"
#include "tests/parity/model_case.h"

namespace annuli::parity {
namespace {

// As of ten AdamW steps (model_parity_test.cpp).
constexpr double kLossLimit = 5e-6;

struct Steps {
  std::vector<double> losses;
  std::vector<std::vector<std::vector<int64_t>>> loads;  // [S][L][E]
  std::vector<at::Tensor> biases;                        // [S][L] of [E]
};

class SelectionParity : public testing::Test {
 protected:
  // The biases move by `factor` times the reference's rate.
  Steps steps(double factor) const {
    const SafetensorsFile file = case_.steps();
    Transformer model = case_.model();
    OptimizerPlan plan;
    plan.adam_epsilon = case_.adamw().eps;
    train::Optimizer optimizer(plan, model.table().size());
    Steps found;
    for (int64_t i = 0; i < file.tensor("tokens").size(0); ++i) {
      step(model, optimizer, file, i, factor, found);
    }
    return found;
  }

  const ModelCase case_{"selection_bias"};
  const double rate_ = case_.settings().at("selection_bias_rate");

 private:
  void step(Transformer& model, train::Optimizer& optimizer,
            const SafetensorsFile& file, int64_t i, double factor,
            Steps& found) const {
    std::vector<at::Tensor> gradients(model.table().size());
    Loss loss;
    {
      const GradientScope scope(model);
      loss = model.loss(file.tensor("tokens")[i], file.tensor("targets")[i],
                        case_.loss_options());
      model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
        gradients[row] = gradient;
      });
    }
    for (size_t row = 0; row < gradients.size(); ++row) {
      at::Tensor weight = model.weight(row).detach();
      optimizer.update(model.table()[row], row, weight, gradients[row],
                       {.learning_rate = case_.adamw().learning_rate,
                        .weight_decay = case_.adamw().weight_decay});
    }
    train::move_selection_biases(model, loss.load, factor * rate_,
                                 [](size_t) { return true; });
    found.losses.push_back(loss.total.item<double>());
    found.loads.push_back(loss.load);
    for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
      const int64_t row = model.index().row(Part::kSelectionBias, layer);
      found.biases.push_back(model.weight(row).clone());
    }
  }
};

TEST_F(SelectionParity, TenSteps) {
  const SafetensorsFile file = case_.steps();
  const Steps found = steps(1);
  double worst = 0;
  for (int64_t i = 0; i < std::ssize(found.losses); ++i) {
    const double loss = file.tensor("losses")[i].item<double>();
    worst = std::max(worst, std::abs(found.losses[i] - loss) / loss);
    const at::Tensor loads = file.tensor("loads")[i];
    const at::Tensor biases = file.tensor("biases")[i + 1];
    const int64_t layers = biases.size(0);
    for (int64_t layer = 0; layer < layers; ++layer) {
      // Steps of one size in fp32, in one order: the same bits.
      EXPECT_TRUE(found.biases[i * layers + layer].equal(biases[layer]))
          << "step " << i << ", layer " << layer;
      for (int64_t e = 0; e < biases.size(1); ++e) {
        EXPECT_EQ(found.loads[i][layer][e], loads[layer][e].item<int64_t>());
      }
    }
  }
  EXPECT_LE(worst, kLossLimit);
  RecordProperty("worst", fmt::format("{:.2e}", worst));
}

// The control: biases that move the other way, or stay, give other losses.
TEST_F(SelectionParity, TenStepsFeelTheBiases) {
  const at::Tensor losses = case_.steps().tensor("losses");
  for (const double factor : {-1.0, 0.0}) {
    const Steps found = steps(factor);
    double worst = 0;
    for (int64_t i = 0; i < std::ssize(found.losses); ++i) {
      const double loss = losses[i].item<double>();
      worst = std::max(worst, std::abs(found.losses[i] - loss) / loss);
    }
    EXPECT_GT(worst, 2 * kLossLimit) << factor;
  }
}

}  // namespace
}  // namespace annuli::parity

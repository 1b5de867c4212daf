// Ten steps with Muon, and with groups of parts, against PyTorch's own
// optimizers (model_reference.py).
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "annuli/train/optimizer.h"
#include "tests/parity/model_case.h"

namespace annuli::parity {
namespace {

// As of ten AdamW steps (model_parity_test.cpp).
constexpr double kLimit = 5e-6;

class OptimizerParity : public testing::TestWithParam<std::string> {
 protected:
  OptimizerPlan plan() const {
    const kernels::AdamwStep adamw = case_.adamw();
    OptimizerPlan plan;
    plan.adam_beta1 = adamw.beta1;
    plan.adam_beta2 = adamw.beta2;
    plan.adam_epsilon = adamw.eps;
    plan.weight_decay = adamw.weight_decay;
    return plan;
  }
  OptimizerPlan muon(MuonScale scale) const {
    OptimizerPlan muon = plan();
    muon.type = OptimizerType::kMuon;
    muon.muon_scale = scale;
    return muon;
  }
  OptimizerPlan groups() const {
    OptimizerPlan grouped = plan();
    grouped.groups = {
        {.parts = {TensorPart::kAttention},
         .lr_factor = 0.5,
         .weight_decay = 0.1},
        {.parts = {TensorPart::kGains}, .weight_decay = 0.05},
        {.parts = {TensorPart::kEmbedding}, .lr_factor = 2},
    };
    return grouped;
  }

  std::vector<double> losses(const OptimizerPlan& plan) const {
    const SafetensorsFile steps = case_.steps();
    Transformer model = case_.model();
    train::Optimizer optimizer(plan, model.table().size());
    std::vector<double> losses;
    for (int64_t i = 0; i < steps.tensor("tokens").size(0); ++i) {
      const auto [loss, gradients] =
          loss_and_gradients(model, steps.tensor("tokens")[i],
                             steps.tensor("targets")[i], case_.loss_options());
      losses.push_back(loss);
      for (size_t row = 0; row < gradients.size(); ++row) {
        at::Tensor weight = model.weight(row).detach();
        optimizer.update(model.table()[row], row, weight, gradients[row],
                         {.learning_rate = case_.adamw().learning_rate,
                          .weight_decay = plan.weight_decay});
      }
    }
    return losses;
  }

  // Largest relative difference from PyTorch's.
  double error(const std::string& name, const OptimizerPlan& plan) const {
    const SafetensorsFile file = case_.optimizers();
    const at::Tensor expected = file.tensor(name);
    const std::vector<double> found = losses(plan);
    EXPECT_EQ(static_cast<int64_t>(found.size()), expected.size(0));
    double worst = 0;
    for (int64_t i = 0; i < std::ssize(found); ++i) {
      const double loss = expected[i].item<double>();
      worst = std::max(worst, std::abs(found[i] - loss) / loss);
    }
    RecordProperty(fmt::format("{}_{}", name, ++measured_),
                   fmt::format("{:.2e}", worst));
    return worst;
  }

  const ModelCase case_{GetParam()};
  mutable int measured_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Cases, OptimizerParity,
                         testing::Values("llama", "arcee_tied", "annuli_moe"),
                         [](const auto& info) { return info.param; });

TEST_P(OptimizerParity, TenMuonSteps) {
  EXPECT_LE(error("muon_keller", muon(MuonScale::kKeller)), kLimit);
  EXPECT_LE(error("muon_moonlight", muon(MuonScale::kMoonlight)), kLimit);
}

TEST_P(OptimizerParity, TenMuonStepsFeelTheirSettings) {
  using Change = std::function<void(OptimizerPlan&)>;
  const std::vector<Change> changes = {
      [](OptimizerPlan& plan) { plan.muon_scale = MuonScale::kKeller; },
      [](OptimizerPlan& plan) { plan.muon_momentum = 0.9; },
      [](OptimizerPlan& plan) { plan.adam_beta2 = 0.9; },
      [](OptimizerPlan& plan) { plan.weight_decay *= 10; },
      [](OptimizerPlan& plan) { plan.type = OptimizerType::kAdamw; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    OptimizerPlan changed = muon(MuonScale::kMoonlight);
    changes[i](changed);
    EXPECT_GT(error("muon_moonlight", changed), 2 * kLimit) << i;
  }
}

TEST_P(OptimizerParity, TenStepsOfGroups) {
  EXPECT_LE(error("groups", groups()), kLimit);
  for (size_t i = 0; i < groups().groups.size(); ++i) {
    OptimizerPlan without = groups();
    without.groups.erase(without.groups.begin() + static_cast<int64_t>(i));
    EXPECT_GT(error("groups", without), 2 * kLimit) << i;
  }
}

}  // namespace
}  // namespace annuli::parity

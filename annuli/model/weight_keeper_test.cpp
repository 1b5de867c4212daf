#include "annuli/model/weight_keeper.h"

#include <ATen/ops/equal.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "annuli/kernels/memory/lent_memory.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

// Holds copies of the weights of the layers, which the model lacks until it
// asks for them.
class Lender final : public WeightKeeper {
 public:
  explicit Lender(const Transformer& model) : model_(model) {
    for (size_t row = 0; row < model.table().size(); ++row) {
      copies_.push_back(model.weight(row).clone());
      if (layer(row) >= 0) kernels::give_up_memory(model.weight(row));
    }
  }
  ~Lender() override {
    for (int64_t layer = 0; layer < model_.config().num_hidden_layers; ++layer)
      fetch(layer);
  }

  void fetch(int64_t layer) override {
    calls += fmt::format("+{} ", layer);
    for (size_t row = 0; row < copies_.size(); ++row) {
      if (this->layer(row) != layer) continue;
      kernels::take_memory(model_.weight(row), copies_[row].clone());
    }
  }
  void drop(int64_t layer) override {
    calls += fmt::format("-{} ", layer);
    for (size_t row = 0; row < copies_.size(); ++row) {
      if (this->layer(row) != layer) continue;
      kernels::give_up_memory(model_.weight(row));
    }
  }

  std::string calls;

 private:
  int64_t layer(size_t row) const { return model_.table()[row].layer; }

  const Transformer& model_;
  std::vector<at::Tensor> copies_;
};

struct Outcome {
  Loss loss;
  std::vector<at::Tensor> gradients;
};

Outcome run(Transformer& model, const LossOptions& options) {
  const at::Tensor tokens = tiny::tokens(2, 9, model.config().vocab_size);
  const at::Tensor targets = tiny::tokens(2, 9, model.config().vocab_size, 8);
  GradientScope scope(model);
  Outcome outcome{model.loss(tokens, targets, options), {}};
  outcome.gradients.resize(model.table().size());
  model.backward(outcome.loss.total, [&](size_t row, const at::Tensor& given) {
    outcome.gradients[row] = given;
  });
  return outcome;
}

class LentFlavour : public testing::TestWithParam<tiny::Flavour> {};

TEST_P(LentFlavour, GivesTheBitsOfWeightsThatAreAlwaysHere) {
  Transformer model = tiny::model(tiny::config(GetParam()), at::kFloat);
  for (const bool checkpointing : {false, true}) {
    LossOptions options{.router_aux_loss_coef = 0.1,
                        .router_z_loss_coef = 0.01,
                        .gradient_checkpointing = checkpointing};
    const Outcome expected = run(model, options);
    Lender lender(model);
    options.weight_keeper = &lender;
    const Outcome lent = run(model, options);
    EXPECT_TRUE(at::equal(lent.loss.total, expected.loss.total));
    for (size_t row = 0; row < lent.gradients.size(); ++row) {
      ASSERT_EQ(lent.gradients[row].defined(),
                expected.gradients[row].defined());
      if (!lent.gradients[row].defined()) continue;
      EXPECT_TRUE(at::equal(lent.gradients[row], expected.gradients[row]))
          << model.table()[row].name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, LentFlavour,
                         testing::ValuesIn(tiny::all_flavours()),
                         [](const auto& info) {
                           return tiny::name_of(info.param);
                         });

TEST(WeightKeeper, IsAskedForEachLayerWhenItRuns) {
  ModelConfig config = tiny::config({.mixture = true});
  config.num_hidden_layers = 3;
  Transformer model = tiny::model(config, at::kFloat);
  const std::string forward = "+0 -0 +1 -1 +2 -2 ";
  for (const bool checkpointing : {false, true}) {
    Lender lender(model);
    LossOptions options{.router_aux_loss_coef = 0.1,
                        .gradient_checkpointing = checkpointing,
                        .weight_keeper = &lender};
    run(model, options);
    EXPECT_EQ(lender.calls, forward + "+2 -2 +1 -1 +0 -0 ") << checkpointing;
    lender.calls.clear();
    const at::Tensor tokens = tiny::tokens(2, 9, config.vocab_size);
    model.loss(tokens, tokens, options);
    EXPECT_EQ(lender.calls, forward);
  }
}

}  // namespace
}  // namespace annuli

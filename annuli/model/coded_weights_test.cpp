#include "annuli/model/coded_weights.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/model/transformer.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_pass.h"

namespace annuli {
namespace {

void expect_none_here(const Transformer& model) {
  for (size_t row = 0; row < model.table().size(); ++row) {
    EXPECT_EQ(kernels::has_memory(model.weight(row)), !model.is_coded(row))
        << model.table()[row].name;
  }
}

class CodedFlavour : public testing::TestWithParam<tiny::Flavour> {};

TEST_P(CodedFlavour, GivesTheBitsOfItsWidenedModel) {
  Transformer model = tiny::coded_model(tiny::config(GetParam()));
  Transformer whole = tiny::widened(model);
  for (const bool checkpointing : {false, true}) {
    for (const bool as_trained : {false, true}) {
      const LossOptions options{.router_aux_loss_coef = 0.1,
                                .gradient_checkpointing = checkpointing,
                                .as_trained = as_trained};
      const tiny::Outcome expected = tiny::run(whole, options);
      const tiny::Outcome found = tiny::run(model, options);
      expect_none_here(model);
      EXPECT_TRUE(at::equal(found.loss.total, expected.loss.total));
      for (size_t row = 0; row < found.gradients.size(); ++row) {
        const at::Tensor& gradient = found.gradients[row];
        ASSERT_EQ(gradient.defined(), expected.gradients[row].defined());
        if (!gradient.defined()) continue;
        EXPECT_TRUE(at::equal(gradient, expected.gradients[row]))
            << model.table()[row].name;
      }
    }
  }
  const at::Tensor tokens = tiny::tokens(1, 7, model.config().vocab_size);
  for (const bool in_double : {false, true}) {
    const ForwardOptions options{.double_arithmetic = in_double};
    EXPECT_TRUE(at::equal(model.hidden_states(tokens, options),
                          whole.hidden_states(tokens, options)));
  }
  expect_none_here(model);
}

INSTANTIATE_TEST_SUITE_P(All, CodedFlavour,
                         testing::ValuesIn(tiny::all_flavours()),
                         [](const auto& info) {
                           return tiny::name_of(info.param);
                         });

TEST(CodedWeights, AreTheLayersMatricesButRouters) {
  const Transformer model = tiny::coded_model(tiny::config({.mixture = true}));
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    const bool matrix = spec.layer >= 0 && spec.is_matrix();
    EXPECT_EQ(model.is_coded(row), matrix && spec.part != Part::kRouter)
        << spec.name;
  }
}

// A pass that stopped before its backward pass leaves the last layer's.
TEST(CodedWeights, AreDroppedByTheNextPass) {
  Transformer model = tiny::coded_model(tiny::config());
  const at::Tensor tokens = tiny::tokens(1, 7, model.config().vocab_size);
  {
    GradientScope scope(model);
    model.loss(tokens, tokens);
  }
  model.hidden_states(tokens);
  expect_none_here(model);
}

TEST(CodedWeights, CopiesStayWhenTheModelIsTakenApart) {
  Transformer model = tiny::coded_model(tiny::config());
  const Transformer copy = model;
  const Transformer whole = tiny::widened(model);
  for (size_t row = 0; row < model.table().size(); ++row) {
    model.take_weight(row);
    EXPECT_TRUE(at::equal(copy.read_weight(row), whole.weight(row)));
  }
}

}  // namespace
}  // namespace annuli

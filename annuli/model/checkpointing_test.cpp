#include "annuli/model/checkpointing.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

class CheckpointedFlavour : public testing::TestWithParam<tiny::Flavour> {};

bool same_bits(const std::vector<at::Tensor>& a,
               const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].defined() != b[i].defined()) return false;
    if (a[i].defined() && !at::equal(a[i], b[i])) return false;
  }
  return true;
}

// Losses of the router included: their gradients enter the blocks from the
// side. fp32, where another order of additions would show.
TEST_P(CheckpointedFlavour, LossesAndGradientsHaveTheSameBits) {
  Transformer model = tiny::model(tiny::config(GetParam()), at::kFloat);
  const at::Tensor tokens = tiny::tokens(2, 9, model.config().vocab_size);
  const at::Tensor targets = tiny::tokens(2, 9, model.config().vocab_size, 8);
  LossOptions options{.router_aux_loss_coef = 0.1, .router_z_loss_coef = 0.01};
  const Loss plain = model.loss(tokens, targets, options);
  const auto expected = tiny::gradients(model, tokens, targets, options);
  options.gradient_checkpointing = true;
  EXPECT_TRUE(
      same_bits(tiny::gradients(model, tokens, targets, options), expected));
  const Loss again = model.loss(tokens, targets, options);
  EXPECT_TRUE(at::equal(again.total, plain.total));
  EXPECT_EQ(again.load, plain.load);
  EXPECT_TRUE(same_bits(again.router_mean, plain.router_mean));
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointedFlavour,
                         testing::ValuesIn(tiny::all_flavours()),
                         [](const auto& info) {
                           return tiny::name_of(info.param);
                         });

// The comparison above can fail: other ties, other bits.
TEST(Checkpointed, AnotherRoutingShowsInTheGradients) {
  tiny::Flavour flavour;
  flavour.mixture = true;
  Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (model.table()[row].part == Part::kRouter) model.weight(row).zero_();
  }
  const at::Tensor tokens = tiny::tokens(2, 9, model.config().vocab_size);
  const auto gradients = [&](uint64_t seed) {
    return tiny::gradients(
        model, tokens, tokens,
        {.tie_break_seed = seed, .gradient_checkpointing = true});
  };
  EXPECT_TRUE(same_bits(gradients(1), gradients(1)));
  EXPECT_FALSE(same_bits(gradients(1), gradients(2)));
}

// Where experts are equal the second run must draw the ties of the first.
TEST(Checkpointed, RunsAgainWithTheSameTies) {
  tiny::Flavour flavour;
  flavour.mixture = true;
  Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (model.table()[row].part == Part::kRouter) model.weight(row).zero_();
  }
  const at::Tensor tokens = tiny::tokens(2, 9, model.config().vocab_size);
  LossOptions options{.tie_break_seed = 1};
  const auto expected = tiny::gradients(model, tokens, tokens, options);
  options.gradient_checkpointing = true;
  EXPECT_TRUE(
      same_bits(tiny::gradients(model, tokens, tokens, options), expected));
}

TEST(Checkpointed, KeepsTheInputAloneAndRunsTwice) {
  int runs = 0;
  bool graph_in_first_pass = true;
  const at::Tensor x = at::ones({4}).set_requires_grad(true);
  const auto block = [&](const at::Tensor& input) -> std::vector<at::Tensor> {
    if (runs++ == 0) graph_in_first_pass = at::GradMode::is_enabled();
    return {input * 3, input.detach()};
  };
  const auto outputs = checkpointed(x * 2, block);
  EXPECT_FALSE(graph_in_first_pass);
  EXPECT_EQ(runs, 1);
  outputs[0].sum().backward();
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(at::equal(x.grad(), at::ones({4}) * 6));
}

TEST(Checkpointed, WithoutGradientsItIsTheBlock) {
  int runs = 0;
  const auto outputs =
      checkpointed(at::ones({2}), [&](const at::Tensor& input) {
        ++runs;
        return std::vector<at::Tensor>{input + 1};
      });
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(outputs[0].requires_grad());
}

}  // namespace
}  // namespace annuli

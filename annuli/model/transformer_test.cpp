#include "annuli/model/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

class TransformerFlavour : public testing::TestWithParam<tiny::Flavour> {
 protected:
  Transformer model_ = tiny::model(tiny::config(GetParam()), at::kDouble);
  at::Tensor tokens_ = tiny::tokens(2, 9, model_.config().vocab_size);
  at::Tensor targets_ = tiny::tokens(2, 9, model_.config().vocab_size, 8);
  LossOptions options_{.router_aux_loss_coef = 0.1, .router_z_loss_coef = 0.01};
};

// Central differences of step h in fp64: h^2 from the third derivative and
// 2^-53 / h from rounding, both near 1e-9 of a slope of 1 for h = 1e-5; slopes
// here are near 1e-2. The routing must not change within the step, which the
// seed sees to.
TEST_P(TransformerFlavour, GradientsAreFiniteDifferences) {
  constexpr double kStep = 1e-5;
  const auto gradients = tiny::gradients(model_, tokens_, targets_, options_);
  for (size_t row = 0; row < model_.table().size(); ++row) {
    at::Tensor weight = model_.weight(row).view({-1});
    const int64_t i = (7 * static_cast<int64_t>(row)) % weight.size(0);
    const double kept = weight[i].item<double>();
    const auto loss_at = [&](double value) {
      weight[i].fill_(value);
      return model_.loss(tokens_, targets_, options_).total.item<double>();
    };
    const double slope =
        (loss_at(kept + kStep) - loss_at(kept - kStep)) / (2 * kStep);
    weight[i].fill_(kept);
    const double found = gradients[row].defined()
                             ? gradients[row].view({-1})[i].item<double>()
                             : 0;
    EXPECT_NEAR(found, slope, 1e-7) << model_.table()[row].name;
  }
}

TEST_P(TransformerFlavour, BothDispatchesComputeTheSame) {
  ForwardOptions full;
  full.dispatch = Dispatch::kFullBlock;
  EXPECT_LT(tiny::relative_error(model_.logits(tokens_),
                                 model_.logits(tokens_, full)),
            1e-13);
}

TEST_P(TransformerFlavour, LossIsTheMeanOfTheLogitsCrossEntropy) {
  const at::Tensor log_p = model_.logits(tokens_).log_softmax(-1);
  const double expected =
      -log_p.gather(2, targets_.unsqueeze(2)).mean().item<double>();
  EXPECT_NEAR(model_.loss(tokens_, targets_).cross_entropy.item<double>(),
              expected, 1e-13);
}

TEST_P(TransformerFlavour, DoubleArithmeticOnSingleStorage) {
  Transformer single(model_.config(), at::kFloat);
  Transformer same(model_.config(), at::kDouble);
  for (size_t row = 0; row < model_.table().size(); ++row) {
    single.set_weight(row, model_.weight(row).to(at::kFloat));
    same.set_weight(row, single.weight(row).to(at::kDouble));
  }
  ForwardOptions options;
  options.double_arithmetic = true;
  EXPECT_TRUE(at::equal(single.logits(tokens_, options), same.logits(tokens_)));
  EXPECT_EQ(single.logits(tokens_).scalar_type(), at::kFloat);
}

// A step in bf16 is the step in fp32 but for the rounding of operands: 2^-9 of
// each, in some 10 products one behind the other, forward and again backward.
TEST_P(TransformerFlavour, ProductsInBf16ComeCloseToFp32) {
  Transformer model = tiny::model(model_.config(), at::kFloat);
  model.set_products(at::kBFloat16);
  const auto full = tiny::gradients(model, tokens_, targets_, options_);
  options_.as_trained = true;
  const auto rounded = tiny::gradients(model, tokens_, targets_, options_);
  double difference = 0, size = 0;
  for (size_t row = 0; row < full.size(); ++row) {
    if (!full[row].defined() || !rounded[row].defined()) continue;
    EXPECT_EQ(rounded[row].scalar_type(), at::kFloat);
    difference += (full[row] - rounded[row]).square().sum().item<double>();
    size += full[row].square().sum().item<double>();
  }
  const double error = std::sqrt(difference / size);
  EXPECT_LT(error, 20 * 0x1p-9 * 2);
  EXPECT_GT(error, 0x1p-12);  // the control: it did round
}

// Weights stored in bf16 train as fp32 weights of the same values do.
TEST_P(TransformerFlavour, StoredInBf16HasTheGradientsOfItsValues) {
  Transformer wide = tiny::model(model_.config(), at::kFloat);
  Transformer narrow(model_.config(), at::kBFloat16);
  wide.set_products(at::kBFloat16);
  for (size_t row = 0; row < wide.table().size(); ++row) {
    narrow.set_weight(row, wide.weight(row).to(narrow.weight_dtype(row)));
    wide.set_weight(row, narrow.weight(row).to(at::kFloat));
  }
  options_.as_trained = true;
  EXPECT_TRUE(at::equal(wide.loss(tokens_, targets_, options_).total,
                        narrow.loss(tokens_, targets_, options_).total));
  const auto a = tiny::gradients(wide, tokens_, targets_, options_);
  const auto b = tiny::gradients(narrow, tokens_, targets_, options_);
  for (size_t row = 0; row < a.size(); ++row) {
    if (!a[row].defined()) continue;
    EXPECT_EQ(b[row].scalar_type(), at::kFloat);
    // A router is widened by another operator: its sum's order may differ.
    EXPECT_LT(tiny::relative_error(a[row], b[row]), 1e-6)
        << wide.table()[row].name;
  }
}

TEST_P(TransformerFlavour, TracesEveryLayer) {
  Trace trace;
  ForwardOptions options;
  options.trace = &trace;
  model_.hidden_states(tokens_, options);
  ASSERT_EQ(static_cast<int64_t>(trace.layers.size()),
            model_.config().num_hidden_layers);
  for (const LayerTrace& layer : trace.layers) {
    EXPECT_EQ(layer.residual.size(2), model_.config().hidden_size);
    EXPECT_EQ(layer.q.size(2), model_.config().num_attention_heads);
    EXPECT_EQ(layer.experts.defined(), model_.config().is_mixture());
  }
}

INSTANTIATE_TEST_SUITE_P(All, TransformerFlavour,
                         testing::ValuesIn(tiny::all_flavours()),
                         [](const auto& info) {
                           return tiny::name_of(info.param);
                         });

TEST(Transformer, TheFutureDoesNotReachThePast) {
  const Transformer model = tiny::model(tiny::config(), at::kDouble);
  at::Tensor tokens = tiny::tokens(1, 8, model.config().vocab_size);
  const at::Tensor before = model.logits(tokens);
  tokens[0][7].fill_((tokens[0][7].item<int64_t>() + 1) %
                     model.config().vocab_size);
  const at::Tensor after = model.logits(tokens);
  EXPECT_TRUE(at::equal(before.narrow(1, 0, 7), after.narrow(1, 0, 7)));
  EXPECT_FALSE(at::equal(before, after));
}

TEST(Transformer, RefusesToRunOnAnUninitialisedWeight) {
  Transformer model = tiny::model(tiny::config(), at::kFloat);
  model.take_weight(3);
  EXPECT_THROW(model.logits(tiny::tokens(1, 4, 61)), CheckFailure);
}

TEST(Transformer, HoldsNoGradientAfterBackward) {
  Transformer model = tiny::model(tiny::config(), at::kFloat);
  const at::Tensor tokens = tiny::tokens(1, 6, 61);
  size_t seen = 0;
  {
    GradientScope scope(model);
    const Loss loss = model.loss(tokens, tokens);
    model.backward(loss.total, [&](size_t, const at::Tensor&) { ++seen; });
  }
  EXPECT_EQ(seen, model.table().size());
  for (size_t row = 0; row < model.table().size(); ++row) {
    EXPECT_FALSE(model.weight(row).grad().defined());
    EXPECT_FALSE(model.weight(row).requires_grad());
  }
}

TEST(Transformer, AnErrorInTheSinkLeavesTheModelUsable) {
  Transformer model = tiny::model(tiny::config(), at::kFloat);
  const at::Tensor tokens = tiny::tokens(1, 6, 61);
  {
    GradientScope scope(model);
    const Loss loss = model.loss(tokens, tokens);
    EXPECT_THROW(model.backward(loss.total,
                                [](size_t, const at::Tensor&) {
                                  throw VerdictError("stop");
                                }),
                 std::exception);
  }
  EXPECT_EQ(tiny::gradients(model, tokens, tokens).size(),
            model.table().size());
}

TEST(Transformer, BiasesBeginAtZeroAndGainsAtOne) {
  for (const tiny::Flavour& flavour :
       {tiny::family_flavours().front(), tiny::family_flavours().back()}) {
    Transformer model(tiny::config(flavour), at::kBFloat16);
    initialize(model, 1);
    for (size_t row = 0; row < model.table().size(); ++row) {
      const TensorSpec& spec = model.table()[row];
      if (spec.is_matrix()) continue;
      const bool gain = !is_bias(spec.part) && is_trained(spec.part);
      EXPECT_EQ(model.weight(row).min().item<double>(), gain) << spec.name;
      EXPECT_EQ(model.weight(row).max().item<double>(), gain) << spec.name;
      EXPECT_EQ(model.weight(row).scalar_type(),
                is_trained(spec.part) ? at::kBFloat16 : at::kFloat);
    }
  }
}

// It chooses, and nothing else: no gradient, whoever asks.
TEST(Transformer, ASelectionBiasHasNoGradient) {
  const ModelConfig config =
      tiny::config({.mixture = true, .selection_bias = true});
  Transformer model = tiny::model(config, at::kDouble);
  const at::Tensor tokens = tiny::tokens(2, 12, 61);
  const auto gradients = tiny::gradients(model, tokens, tokens);
  for (size_t row = 0; row < gradients.size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    if (spec.expert >= 0) continue;  // no token may have chosen it
    EXPECT_EQ(gradients[row].defined(), is_trained(spec.part)) << spec.name;
  }
  // Its entries say who is chosen.
  Trace trace;
  model.hidden_states(tokens, {.trace = &trace});
  EXPECT_TRUE(trace.layers[1].selection.defined());
  model.weight(model.index().row(Part::kSelectionBias, 1))[3].fill_(2);
  Trace moved;
  model.hidden_states(tokens, {.trace = &moved});
  EXPECT_TRUE(moved.layers[1].experts.eq(3).any(1).all().item<bool>());
  EXPECT_FALSE(trace.layers[1].experts.eq(3).any(1).all().item<bool>());
}

TEST(Transformer, TheStepsOfAForwardPassAreTheWhole) {
  for (const tiny::Flavour& flavour : tiny::family_flavours()) {
    const Transformer model = tiny::model(tiny::config(flavour), at::kDouble);
    const at::Tensor tokens = tiny::tokens(1, 6, 61);
    at::Tensor x = model.embed(tokens);
    for (int64_t layer = 0; layer < 3; ++layer) x = model.block(x, layer);
    EXPECT_TRUE(
        at::equal(model.head(model.final_norm(x)), model.logits(tokens)));
  }
}

TEST(Transformer, InitialWeightsFollowTheSeed) {
  const ModelConfig config = tiny::config();
  Transformer a(config, at::kFloat), b(config, at::kFloat),
      c(config, at::kFloat);
  initialize(a, 1);
  initialize(b, 1);
  initialize(c, 2);
  EXPECT_TRUE(at::equal(a.weight(0), b.weight(0)));
  EXPECT_FALSE(at::equal(a.weight(0), c.weight(0)));
  EXPECT_NEAR(
      a.weight(0).std().item<double>(), config.initializer_range,
      5 * config.initializer_range / std::sqrt(2.0 * a.weight(0).numel()));
}

}  // namespace
}  // namespace annuli

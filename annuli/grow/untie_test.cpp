#include "annuli/grow/untie.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/grow/optimizer_state.h"
#include "tests/support/growth_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using tiny::grown;
using tiny::growth_probe;

TEST(UntieFunction, IsKeptBitForBit) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    if (!flavour.tied) continue;
    SCOPED_TRACE(tiny::name_of(flavour));
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      const Transformer child =
          grown(parent, Untie({}).recipe(parent.config(), 3));
      const at::Tensor tokens = growth_probe(parent.config());
      EXPECT_TRUE(at::equal(parent.logits(tokens), child.logits(tokens)));
      const at::Tensor head =
          child.weight(find_row(child.table(), Part::kHead));
      EXPECT_NE(head.const_data_ptr(), child.weight(0).const_data_ptr());
    }
  }
}

// The tied table's gradient is the sum of the two; every other is the same.
TEST(UntieFunction, PartsTheGradientOfTheTable) {
  Transformer parent =
      tiny::model(tiny::config({.logit_multiplier = 0.5}), at::kDouble);
  Transformer child = grown(parent, Untie({}).recipe(parent.config(), 3));
  const at::Tensor inputs = growth_probe(parent.config());
  const at::Tensor targets = growth_probe(parent.config(), 8);
  const auto of_parent = tiny::gradients(parent, inputs, targets);
  auto of_child = tiny::gradients(child, inputs, targets);
  EXPECT_GT(of_child.back().abs().max().item<double>(), 0);
  of_child.front() = of_child.front() + of_child.back();
  of_child.pop_back();
  ASSERT_EQ(of_child.size(), of_parent.size());
  for (size_t row = 0; row < of_parent.size(); ++row) {
    EXPECT_LE(tiny::relative_error(of_parent[row], of_child[row]), 1e-13);
  }
}

TEST(UntieFunction, AnUntiedParentIsRefusedInOneLine) {
  try {
    Untie({}).recipe(tiny::config({.tied = false}), 3);
    FAIL() << "untied twice";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(),
                 "growing: untie: found a parent whose head has a table of its "
                 "own already, expected one with tie_word_embeddings");
  }
}

TEST(UntieState, IsTheTablesOrNone) {
  const ModelConfig config = tiny::config();
  std::vector<TensorState> states;
  for (const TensorSpec& spec : tensor_table(config)) {
    states.push_back({.m = at::full(spec.shape(), 0.5, at::kFloat),
                      .v = at::full(spec.shape(), 0.25, at::kFloat),
                      .step = 7});
  }
  for (const OptimizerState head :
       {OptimizerState::kCarry, OptimizerState::kReset}) {
    std::vector<TensorState> given = states;
    const auto carried =
        grow_state(Untie({head}).recipe(config, 3), std::move(given),
                   {OptimizerState::kCarry, Dynamics::kExact});
    EXPECT_TRUE(at::equal(carried.front().m, states.front().m));
    EXPECT_EQ(carried.front().step, 7);
    EXPECT_EQ(carried.back().lr_multiplier, 1);
    if (head == OptimizerState::kCarry) {
      EXPECT_TRUE(at::equal(carried.back().m, states.front().m));
      EXPECT_TRUE(at::equal(carried.back().v, states.front().v));
      EXPECT_NE(carried.back().m.const_data_ptr(),
                carried.front().m.const_data_ptr());
      EXPECT_EQ(carried.back().step, 7);
    } else {
      EXPECT_FALSE(carried.back().m.defined());
      EXPECT_EQ(carried.back().step, 0);
    }
  }
}

}  // namespace
}  // namespace annuli::grow

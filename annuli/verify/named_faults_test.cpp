// Five faults that converters of models have made, each refused with layer and
// tensor named: made in the child, and made by a wrong recipe, whose word the
// verifier must not take.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/normal_fill.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

// A failed verdict of `check` that names the tensor and its layer.
testing::AssertionResult names(const std::vector<Verdict>& verdicts,
                               const std::string& check,
                               const TensorSpec& spec) {
  const Verdict* failure = tiny::first_failure(verdicts, check);
  if (failure != nullptr && failure->tensor == spec.name &&
      failure->layer == spec.layer) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure()
         << check << " does not name " << spec.name << "\n"
         << tiny::lines(verdicts);
}

bool refused(const std::vector<Verdict>& verdicts, const std::string& check) {
  return tiny::first_failure(verdicts, check) != nullptr;
}

// The line that the user reads names layer and tensor.
void expect_line(const std::vector<Verdict>& verdicts, const TensorSpec& spec) {
  try {
    require(verdicts);
    FAIL() << "not refused";
  } catch (const VerdictError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_NE(text.find(spec.name), std::string::npos) << text;
  }
}

tiny::GrownPair widened(const tiny::Flavour& flavour) {
  return tiny::grown_pair(flavour,
                          grow::Widen(WidenPlan{2, 10, WidenHead::kFold}));
}

// The child that a converter with that recipe would have made.
void convert(tiny::GrownPair& pair, const grow::Recipe& recipe) {
  pair.child = grow::grow(tiny::clone(pair.parent), recipe,
                          pair.record.feed_forward_mean);
}

void swap_heads(const at::Tensor& q, int64_t head_dim) {
  const at::Tensor first = q.narrow(0, 0, head_dim).clone();
  q.narrow(0, 0, head_dim).copy_(q.narrow(0, head_dim, head_dim));
  q.narrow(0, head_dim, head_dim).copy_(first);
}

TEST(NamedFaults, NoneToBeginWith) {
  for (const bool mixture : {false, true}) {
    auto pair = widened({.mixture = mixture, .gated = true});
    const auto verdicts = pair.verdicts();
    EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  }
}

TEST(NamedFaults, ATiedTableHalved) {
  auto pair = widened({.gated = true});
  const TensorSpec spec = pair.child.table()[pair.row(Part::kEmbedding)];
  pair.weight(Part::kEmbedding).mul_(0.5);
  const auto verdicts = pair.verdicts();
  EXPECT_TRUE(names(verdicts, "tensor_audit", spec));
  EXPECT_TRUE(refused(verdicts, "functional_identity"));
  expect_line(verdicts, spec);
}

TEST(NamedFaults, ATiedTableHalvedByItsRecipe) {
  auto pair = widened({.gated = true});
  const size_t row = pair.row(Part::kEmbedding);
  pair.recipe.tensors[row].scale = 0.5;
  convert(pair, pair.recipe);
  EXPECT_TRUE(names(pair.verdicts(), "tensor_audit", pair.child.table()[row]));
}

TEST(NamedFaults, ARouterNotDivided) {
  auto pair = widened({.mixture = true, .gated = true});
  const size_t row = pair.row(Part::kRouter, 1);
  const TensorSpec spec = pair.child.table()[row];
  pair.recipe.tensors[row].scale = 1;
  convert(pair, pair.recipe);
  const auto verdicts = pair.verdicts();
  EXPECT_TRUE(names(verdicts, "tensor_audit", spec));
  EXPECT_TRUE(names(verdicts, "router_logit_scale", spec));
  EXPECT_TRUE(refused(verdicts, "functional_identity"));
  expect_line(verdicts, spec);
}

TEST(NamedFaults, TwoHeadsSwapped) {
  for (const Part part : {Part::kQ, Part::kK}) {
    auto pair = widened({.gated = true});
    const TensorSpec spec = pair.child.table()[pair.row(part, 1)];
    swap_heads(pair.weight(part, 1), pair.child.config().head_dim);
    const auto verdicts = pair.verdicts();
    EXPECT_TRUE(names(verdicts, "tensor_audit", spec));
    EXPECT_TRUE(names(verdicts, "rope_integrity", spec));
    EXPECT_TRUE(refused(verdicts, "functional_identity"));
    expect_line(verdicts, spec);
  }
}

// The audit lays the parent out as the recipe says and is content; what the
// heads compute is not the parent's.
TEST(NamedFaults, TwoHeadsSwappedByTheirRecipe) {
  auto pair = widened({.gated = true});
  const size_t row = pair.row(Part::kQ, 1);
  const int64_t hd = pair.child.config().head_dim;
  const int64_t rows = pair.parent.config().num_attention_heads * hd;
  pair.recipe.tensors[row].dimensions[0].slices = {
      {hd, hd}, {0, hd}, {2 * hd, rows - 2 * hd}, {0, rows}};
  convert(pair, pair.recipe);
  const auto verdicts = pair.verdicts();
  EXPECT_TRUE(names(verdicts, "rope_integrity", pair.child.table()[row]));
  const Verdict* identity =
      tiny::first_failure(verdicts, "functional_identity");
  ASSERT_NE(identity, nullptr);
  EXPECT_EQ(identity->layer, 1);
  expect_line(verdicts, pair.child.table()[row]);
}

TEST(NamedFaults, OneExpertLeftRandom) {
  auto pair = tiny::grown_pair(
      {},
      grow::Upcycle(UpcyclePlan{.num_experts = 4, .num_experts_per_tok = 2}));
  ASSERT_EQ(tiny::first_failure(pair.verdicts()), nullptr);
  for (const Part part : {Part::kUp, Part::kDown}) {
    at::Tensor weight = pair.weight(part, 1, 2);
    kernels::fill_normal(weight, CounterRng(1, "strange"), 0.2);
  }
  const TensorSpec spec = pair.child.table()[pair.row(Part::kUp, 1, 2)];
  const auto verdicts = pair.verdicts();
  EXPECT_TRUE(names(verdicts, "tensor_audit", spec));
  const Verdict* identity =
      tiny::first_failure(verdicts, "functional_identity");
  ASSERT_NE(identity, nullptr);
  EXPECT_EQ(identity->layer, 1);
  EXPECT_EQ(identity->tensor, spec.name);
  expect_line(verdicts, spec);
}

TEST(NamedFaults, NoiseThatDoesNotCancel) {
  for (const Part part : {Part::kQ, Part::kO, Part::kDown}) {
    auto pair = widened({.gated = true});
    const TensorSpec spec = pair.child.table()[pair.row(part, 2)];
    // Both of the pair get +e.
    const at::Tensor weight = pair.weight(part, 2);
    const int64_t half = weight.size(1) / 2;
    weight.narrow(1, half, half).copy_(weight.narrow(1, 0, half));
    const auto verdicts = pair.verdicts();
    EXPECT_TRUE(names(verdicts, "tensor_audit", spec));
    const Verdict* identity =
        tiny::first_failure(verdicts, "functional_identity");
    ASSERT_NE(identity, nullptr);
    EXPECT_EQ(identity->layer, 2);
    expect_line(verdicts, spec);
  }
}

}  // namespace
}  // namespace annuli::verify

// The audit of layers that are no copies: a child passes if its numbers are the
// seed's, and is refused with the tensor named if they are others, of another
// size, or a copy; also where the layer was tiled or cut after it was drawn.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "annuli/grow/apply.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/verify/tensor_audit.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

const tiny::Flavour kModel{
    .gated = true, .tied = false, .num_key_value_heads = 2};
const DeepenPlan kRandom{.add_layers = 1,
                         .weights = LayerSource::kRandom,
                         .outputs = DeepenOutputs::kKeep};
const std::vector<Part> kParts = {Part::kInputNorm, Part::kQ, Part::kO,
                                  Part::kUp, Part::kDown};
constexpr int64_t kNewLayer = 3;

std::vector<tiny::GrownPair> pairs() {
  std::vector<tiny::GrownPair> made;
  made.push_back(tiny::grown_pair(kModel, grow::Deepen(kRandom)));
  made.push_back(tiny::grown_pair(
      kModel,
      grow::Chain({{.deepen = kRandom}, {.widen = WidenPlan{.factor = 2}}})));
  return made;
}

std::vector<Verdict> audit(const tiny::GrownPair& pair) {
  return tensor_audit({pair.record.sketches}, pair.recipe, pair.child,
                      pair.record.feed_forward_mean);
}

void expect_named(tiny::GrownPair& pair, size_t row, const at::Tensor& other) {
  const at::Tensor right = pair.child.weight(row).clone();
  pair.child.weight(row).copy_(other);
  const auto verdicts = audit(pair);
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr) << pair.child.table()[row].name;
  EXPECT_EQ(failure->tensor, pair.child.table()[row].name);
  pair.child.weight(row).copy_(right);
}

TEST(RandomLayersAudit, OtherNumbersAreNamed) {
  for (tiny::GrownPair& pair : pairs()) {
    for (const Part part : kParts) {
      const size_t row = pair.row(part, kNewLayer);
      const at::Tensor right = pair.child.weight(row).clone();
      expect_named(pair, row, right * 1.001);
      expect_named(pair, row, right * 0);
      if (part == Part::kInputNorm) continue;
      expect_named(pair, row, right.flip({0}));
      expect_named(pair, row, pair.weight(part, kNewLayer - 1));
      const at::Tensor drawn =
          grow::apply(pair.recipe.tensors[row], {}, pair.recipe.seed + 1,
                      pair.child.weight_dtype());
      expect_named(pair, row, drawn);
    }
    EXPECT_EQ(tiny::first_failure(audit(pair)), nullptr);
  }
}

// Drawn as the recipe says, with a deviation that no new model has.
TEST(RandomLayersAudit, AnotherDeviationIsNamed) {
  tiny::GrownPair pair = std::move(pairs().front());
  const size_t row = pair.row(Part::kQ, kNewLayer);
  grow::TensorRecipe& line = pair.recipe.tensors[row];
  const double right = line.find<grow::Fresh>()->std;
  EXPECT_EQ(right, pair.recipe.child.initializer_range);
  line.set(std::make_shared<grow::Fresh>(FirstValues::kNormal, 2 * right));
  pair.child.weight(row).copy_(
      grow::apply(line, {}, pair.recipe.seed, pair.child.weight_dtype()));
  const auto verdicts = audit(pair);
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->tensor, line.child);
}

TEST(RandomLayersAudit, TheyPassInEveryType) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const DeepenOutputs outputs :
         {DeepenOutputs::kZero, DeepenOutputs::kKeep}) {
      DeepenPlan plan = kRandom;
      plan.outputs = outputs;
      tiny::GrownPair pair =
          tiny::grown_pair(kModel, grow::Deepen(plan), dtype);
      const auto verdicts = pair.verdicts();
      EXPECT_EQ(tiny::first_failure(verdicts), nullptr)
          << tiny::lines(verdicts);
    }
  }
}

}  // namespace
}  // namespace annuli::verify

// The audit of noise that was added to weights: a child passes if its noise is
// the very noise that the seed says, and is refused with the tensor named if
// noise is missing, of another size or of another stream.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "annuli/grow/apply.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/transforms/perturb.h"
#include "annuli/verify/tensor_audit.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

const tiny::Flavour kModel{
    .gated = true, .tied = false, .num_key_value_heads = 2};

tiny::GrownPair perturbed(at::ScalarType dtype = at::kFloat) {
  return tiny::grown_pair(
      kModel, grow::Perturbation(PerturbPlan{.relative_std = 0.01}), dtype);
}

std::vector<Verdict> audit(const tiny::GrownPair& pair) {
  return tensor_audit({pair.record.sketches}, pair.recipe, pair.child,
                      pair.record.feed_forward_mean);
}

// `down` is kept by its other side as well.
const std::vector<Part> kParts = {Part::kQ, Part::kO, Part::kUp, Part::kDown};

void expect_named(const tiny::GrownPair& pair, size_t row) {
  const auto verdicts = audit(pair);
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr) << pair.child.table()[row].name;
  EXPECT_EQ(failure->tensor, pair.child.table()[row].name);
}

// The tensor made with other noise than the recipe's.
at::Tensor with(const tiny::GrownPair& pair, size_t row, double relative_std,
                uint64_t stream) {
  grow::TensorRecipe line = pair.recipe.tensors[row];
  line.set(std::make_shared<grow::Perturb>(relative_std, stream));
  return grow::apply(line, pair.parent.weight(line.parent), pair.recipe.seed,
                     pair.child.weight_dtype());
}

TEST(PerturbAudit, TheAskedNoisePassesInEveryType) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    tiny::GrownPair pair = perturbed(dtype);
    const auto verdicts = pair.verdicts();
    EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  }
}

TEST(PerturbAudit, MissingNoiseIsNamed) {
  tiny::GrownPair pair = perturbed();
  for (const Part part : kParts) {
    const size_t row = pair.row(part, 1);
    const at::Tensor right = pair.child.weight(row).clone();
    pair.child.weight(row).copy_(
        pair.parent.weight(pair.recipe.tensors[row].parent));
    expect_named(pair, row);
    pair.child.weight(row).copy_(right);
  }
}

TEST(PerturbAudit, NoiseOfAnotherSizeOrStreamIsNamed) {
  tiny::GrownPair pair = perturbed();
  for (const Part part : kParts) {
    const size_t row = pair.row(part, 1);
    const auto* asked = pair.recipe.tensors[row].find<grow::Perturb>();
    const double size = asked->noise.relative_std;
    const uint64_t stream = asked->noise.stream;
    const at::Tensor right = pair.child.weight(row).clone();
    for (const double other : {2 * size, 0.5 * size, 1.001 * size, -size}) {
      pair.child.weight(row).copy_(with(pair, row, other, stream));
      expect_named(pair, row);
    }
    pair.child.weight(row).copy_(with(pair, row, size, stream + 1));
    expect_named(pair, row);
    pair.child.weight(row).copy_(with(pair, row, size, stream));
    EXPECT_TRUE(pair.child.weight(row).equal(right));
  }
  EXPECT_EQ(tiny::first_failure(audit(pair)), nullptr);
}

// Stored in bf16, where 8 roundoffs are 3 % of a row's size, noise of 4 % is
// told from none and from another by the 12 rows and more of each matrix
// together: 6 / (256 * 0.04 sqrt(12)) = 0.17 of it.
TEST(PerturbAudit, FineNoiseIsSeenInCoarseStorage) {
  const tiny::GrownPair pair = tiny::grown_pair(
      kModel, grow::Perturbation(PerturbPlan{.relative_std = 0.04}));
  for (size_t row = 0; row < pair.recipe.tensors.size(); ++row) {
    const grow::TensorRecipe& line = pair.recipe.tensors[row];
    const auto* asked = line.find<grow::Perturb>();
    if (asked == nullptr) continue;
    const TensorSpec& spec = pair.child.table()[row];
    const auto judged = [&](double relative_std, uint64_t stream) {
      grow::TensorRecipe other = line;
      other.set(std::make_shared<grow::Perturb>(relative_std, stream));
      const at::Tensor stored =
          pair.parent.weight(line.parent).to(at::kBFloat16);
      const at::Tensor made =
          grow::apply(other, stored, pair.recipe.seed, at::kBFloat16);
      const Sketch sketch = with_noise(sketch_of(spec, stored), spec,
                                       asked->noise, pair.recipe.seed);
      return *sketch_distance(
                  sketch, {.parent = spec, .recipe = line, .child = spec}, made)
                  .noise /
             (6 * 0x1p-8);
    };
    EXPECT_LE(judged(0.04, asked->noise.stream), 1) << spec.name;
    EXPECT_GT(judged(0.08, asked->noise.stream), 1) << spec.name;
    EXPECT_GT(judged(0, asked->noise.stream), 1) << spec.name;
    EXPECT_GT(judged(0.04, asked->noise.stream + 1), 1) << spec.name;
  }
}

// Noise where none was asked for.
TEST(PerturbAudit, NoiseOnATensorOfAnotherGroupIsNamed) {
  tiny::GrownPair pair = perturbed();
  const size_t row = pair.row(Part::kEmbedding);
  pair.child.weight(row).copy_(with(pair, row, 0.01, 5));
  expect_named(pair, row);
}

// Matrices that were shrunk by another factor, against another size, or not.
TEST(ShrinkPerturbAudit, AnotherFactorOrNoiseIsNamed) {
  tiny::GrownPair pair =
      tiny::grown_pair(kModel, grow::ShrinkPerturbation(ShrinkPerturbPlan{
                                   .shrink = 0.5, .relative_std = 0.1}));
  EXPECT_EQ(tiny::first_failure(audit(pair)), nullptr);
  for (const Part part : {Part::kEmbedding, Part::kHead}) {
    const size_t row = pair.row(part);
    pair.child.weight(row).mul_(1.001);
    expect_named(pair, row);
    pair.child.weight(row).div_(1.001);
  }
  for (const Part part : kParts) {
    const size_t row = pair.row(part, 1);
    const at::Tensor right = pair.child.weight(row).clone();
    grow::TensorRecipe line = pair.recipe.tensors[row];
    const uint64_t stream = line.find<grow::Perturb>()->noise.stream;
    const auto remake = [&](double relative_std, double shrink) {
      line.set(std::make_shared<grow::Perturb>(relative_std, stream, shrink));
      pair.child.weight(row).copy_(
          grow::apply(line, pair.parent.weight(line.parent), pair.recipe.seed,
                      pair.child.weight_dtype()));
    };
    for (const auto& [relative_std, shrink] :
         {std::pair{0.1, 1.0}, std::pair{0.1, 0.501}, std::pair{0.05, 0.5},
          std::pair{0.1001, 0.5}, std::pair{0.0, 0.5}}) {
      remake(relative_std, shrink);
      expect_named(pair, row);
    }
    remake(0.1, 0.5);
    EXPECT_TRUE(pair.child.weight(row).equal(right));
  }
}

// Noise that was added to copies, each its own.
TEST(ShrinkPerturbAudit, NoiseOnCopiesIsFollowed) {
  const WidenPlan plain{.factor = 2, .noise_snr_db = std::nullopt};
  tiny::GrownPair pair = tiny::grown_pair(
      kModel,
      grow::Chain({{.widen = plain}, {.shrink_perturb = ShrinkPerturbPlan{}}}));
  EXPECT_EQ(tiny::first_failure(audit(pair)), nullptr)
      << tiny::lines(audit(pair));
  for (const Part part : {Part::kEmbedding, Part::kHead, Part::kQ, Part::kO,
                          Part::kUp, Part::kDown}) {
    const bool outside = part == Part::kEmbedding || part == Part::kHead;
    const size_t row = pair.row(part, outside ? -1 : 1);
    const at::Tensor weight = pair.child.weight(row);
    const at::Tensor right = weight.clone();
    grow::TensorRecipe line = pair.recipe.tensors[row];
    ASSERT_EQ(line.steps.size(), 2);
    const grow::AddedNoise asked = *line.find<grow::Perturb>()->added();
    const auto remake = [&](double relative_std, double shrink,
                            uint64_t stream) {
      line.steps.back().set(
          std::make_shared<grow::Perturb>(relative_std, stream, shrink));
      weight.copy_(grow::apply(line, pair.parent.weight(line.parent),
                               pair.recipe.seed, pair.child.weight_dtype()));
    };
    remake(asked.relative_std, 0.501, asked.stream);
    expect_named(pair, row);
    remake(1.001 * asked.relative_std, 0.5, asked.stream);
    expect_named(pair, row);
    remake(asked.relative_std, 0.5, asked.stream + 1);
    expect_named(pair, row);
    remake(0, 0.5, asked.stream);
    expect_named(pair, row);
    remake(asked.relative_std, 0.5, asked.stream);
    EXPECT_TRUE(weight.equal(right));
  }
  EXPECT_EQ(tiny::first_failure(audit(pair)), nullptr);
}

// The function changes and the budget is what holds it.
TEST(PerturbAudit, LargeNoiseIsHeldByTheBudget) {
  tiny::GrownPair pair = tiny::grown_pair(
      kModel, grow::Perturbation(PerturbPlan{.relative_std = 1}));
  EXPECT_EQ(tiny::first_failure(audit(pair)), nullptr);
  pair.record.loss -= 1;  // as a parent that knows the probe's text
  const auto verdicts = pair.verdicts();
  EXPECT_NE(tiny::first_failure(verdicts, "boundary_record"), nullptr)
      << tiny::lines(verdicts);
}

}  // namespace
}  // namespace annuli::verify

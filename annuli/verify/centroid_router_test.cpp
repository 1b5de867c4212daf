// Routers of centroids: what the audit knows of them, in memory and on disk.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/verify/tensor_audit.h"
#include "annuli/verify/verify_folders.h"
#include "tests/support/grown_pair.h"
#include "tests/support/model_folder.h"

namespace annuli::verify {
namespace {

constexpr tiny::Flavour kDense{.gated = true, .num_key_value_heads = 2};

// Plain copies, and shards that share a row.
UpcyclePlan upcycling(int64_t granularity) {
  return {.num_experts = 4,
          .num_experts_per_tok = 2 * granularity,
          .router = RouterInit::kCentroids,
          .granularity = granularity};
}

class CentroidRouter : public ::testing::TestWithParam<int64_t> {
 protected:
  at::Tensor router() const { return pair_.weight(Part::kRouter, 1); }
  void expect_refused(const std::vector<Verdict>& verdicts) const {
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr);
    EXPECT_EQ(failure->check, "tensor_audit");
    EXPECT_EQ(failure->tensor,
              pair_.child.table()[pair_.row(Part::kRouter, 1)].name);
  }
  // Who does not have the parent's inputs.
  std::vector<Verdict> blind_audit() const {
    return tensor_audit({pair_.record.sketches}, pair_.recipe, pair_.child, {});
  }

  tiny::GrownPair pair_ =
      tiny::grown_pair(kDense, grow::Upcycle(upcycling(GetParam())));
};

INSTANTIATE_TEST_SUITE_P(Granularities, CentroidRouter,
                         ::testing::Values(1, 2));

TEST_P(CentroidRouter, IsProved) {
  const auto verdicts = pair_.verdicts();
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  EXPECT_EQ(tiny::first_failure(blind_audit()), nullptr);
}

TEST_P(CentroidRouter, AnotherScaleOrEntryIsRefused) {
  const at::Tensor right = router().clone();
  router().mul_(0.5);
  expect_refused(pair_.verdicts());
  router().copy_(right);
  router()[1][7].add_(1e-4);
  expect_refused(pair_.verdicts());
  // Of what is not known only lengths are asked.
  router().copy_(right);
  router()[2].mul_(1.001);
  expect_refused(blind_audit());
  router().copy_(10 * right);
  expect_refused(blind_audit());
  router().copy_(right);
  EXPECT_EQ(tiny::first_failure(pair_.verdicts()), nullptr);
}

// Cut, tiled and closed after it was made.
TEST(CentroidRouters, AreProvedThroughChains) {
  const grow::Chain chain(
      {{.upcycle = upcycling(1)}, {.widen = WidenPlan{.factor = 2}}});
  tiny::GrownPair pair = tiny::grown_pair(kDense, chain);
  const auto verdicts = pair.verdicts();
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  pair.weight(Part::kRouter, 1).mul_(0.5);
  EXPECT_NE(tiny::first_failure(pair.verdicts()), nullptr);
}

TEST(CentroidRouters, AreProvedInFoldersWithAndWithoutRecipe) {
  const tiny::GrownPair pair =
      tiny::grown_pair(kDense, grow::Upcycle(upcycling(1)));
  const test::TestFolder folder;
  tiny::save_as(pair.parent, folder.path() / "parent", at::kFloat);
  tiny::save_as(pair.child, folder.path() / "child", at::kFloat);
  const ModelFile parent(folder.path() / "parent");
  const ModelFile child(folder.path() / "child");
  for (const bool known : {true, false}) {
    const auto result = verify_folders(
        {&parent}, child, known ? std::optional(pair.recipe) : std::nullopt,
        pair.probe, {});
    EXPECT_EQ(tiny::first_failure(result.verdicts), nullptr)
        << tiny::lines(result.verdicts);
  }
}

}  // namespace
}  // namespace annuli::verify

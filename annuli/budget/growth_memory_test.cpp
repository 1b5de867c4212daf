#include "annuli/budget/growth_memory.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "annuli/budget/plan_budget.h"
#include "annuli/budget/sizes.h"

// The moments of growth, where one thing outweighs all others or where what is
// alive can be told by hand. (Whole runs: PlanVerb.ForetellsThePeakOfARun.)
namespace annuli::budget {
namespace {

struct Growths {
  PlanBudget budget;

  explicit Growths(const std::vector<std::string>& overrides) {
    const char* root = std::getenv("ANNULI_ROOT");
    budget = plan_budget(load_plan(
        std::string(root == nullptr ? "." : root) + "/plans/tiny.yaml",
        overrides));
  }
  const PhaseBudget& phase(size_t i) const { return budget.phases[i]; }
  int64_t moment(size_t i, const std::string& name) const {
    for (const Moment& moment : phase(i).moments) {
      if (moment.name == name) return moment.bytes;
    }
    return -1;
  }
  int64_t resident(size_t i) const {
    return phase(i).weights + phase(i).optimizer;
  }
};

constexpr size_t kMoe = 1, kWide = 2, kDeep = 3;

// Each parent tensor goes with its last use, so that hardly more than the child
// is alive; the widening's tied parent keeps its embedding until the child's
// head is made of it, and two windows' logits in fp64 for the proof.
TEST(GrowthMemory, TheParentGoesAsTheChildIsMade) {
  const Growths growths({"model.vocab_size=300"});
  const int64_t embedding[] = {0, 300 * 32, 300 * 32,
                               300 * 64};  // of the parent
  for (const size_t i : {kMoe, kWide, kDeep}) {
    const PhaseBudget& child = growths.phase(i);
    const int64_t waits = i == kWide ? embedding[i] : 0;
    const int64_t kept = i == kWide ? 2 * 32 * 300 * 8 : 0;
    EXPECT_EQ(growths.moment(i, "grow the weights"),
              kept + growths.phase(i - 1).optimizer + child.weights + 4 * waits)
        << child.name;
    // Codes would be widened: a matrix in fp32.
    EXPECT_EQ(growths.moment(i, "grow the optimizer state"),
              kept + growths.resident(i) + 8 * waits + 4 * embedding[i])
        << child.name;
  }
}

// With so many words a window's logits outweigh its layers: the logits and what
// is made of them, and the parent's beside the child's.
TEST(GrowthMemory, AProofHoldsLogits) {
  const int64_t V = 50257;
  const Growths growths({"model.vocab_size=50257"});
  const auto logits = static_cast<double>(tensor_bytes(32 * V, at::kFloat));
  const auto share = [&](const std::string& name, size_t of) {
    const int64_t working = growths.moment(kMoe, name) - growths.resident(of);
    return static_cast<double>(working) / logits;
  };
  EXPECT_GE(share("record the parent", kMoe - 1), 2);
  EXPECT_LE(share("record the parent", kMoe - 1), 2.1);
  EXPECT_GE(share("prove the growth", kMoe), 3);
  EXPECT_LE(share("prove the growth", kMoe), 3.15);
}

// Of a widening two windows' logits are kept in fp64, in pieces and whole; the
// child's likewise.
TEST(GrowthMemory, AWideningKeepsLogitsInFp64) {
  const int64_t V = 50257;
  for (const int64_t windows : {1, 2, 8}) {
    const Growths growths(
        {"model.vocab_size=50257", fmt::format("probe.windows={}", windows)});
    const int64_t kept =
        tensor_bytes(std::min<int64_t>(windows, 2) * 32 * V, at::kDouble);
    const auto recorded = growths.moment(kWide, "record the parent");
    const auto proved = growths.moment(kWide, "prove the growth");
    if (windows > 1) {
      EXPECT_EQ(recorded, growths.resident(kWide - 1) + 2 * kept);
      EXPECT_EQ(proved, growths.resident(kWide) + 3 * kept);
    } else {
      // A single window's pass, in fp32, is the larger one.
      EXPECT_GT(recorded, growths.resident(kWide - 1) + 2 * kept);
      EXPECT_LT(recorded, growths.resident(kWide - 1) + 2.1 * kept);
    }
  }
}

// Of each layer a window's trace keeps the residual stream, what the
// feed-forward reads, q and k; the pass itself takes nine streams (three, and
// attention's six), and the logits are there twice.
TEST(GrowthMemory, AWindowsTraceIsCounted) {
  const Growths growths({"model.vocab_size=300", "probe.length=2048",
                         "probe.router_tokens=1", "model.num_hidden_layers=5"});
  const int64_t stream = tensor_bytes(2048 * 32, at::kFloat);
  EXPECT_EQ(growths.moment(kMoe, "record the parent"),
            growths.resident(kMoe - 1) + (5 * 4 + 9) * stream +
                2 * tensor_bytes(2048 * 300, at::kFloat));
}

// Thirteen streams of the router's 4096 tokens: four that are compared, three
// of a forward pass, and q, k and v with what attention makes of them.
TEST(GrowthMemory, TheRoutersTokensAreCounted) {
  const Growths growths({"model.vocab_size=300", "probe.router_tokens=4096"});
  const int64_t narrow = tensor_bytes(4096 * 32, at::kFloat);
  EXPECT_EQ(growths.moment(kMoe, "record the parent"),
            growths.resident(kMoe - 1) + 13 * narrow);
  for (const char* name : {"prove the growth", "prove the phase"}) {
    const int64_t working = growths.moment(kMoe, name) - growths.resident(kMoe);
    // Of the child two experts of four: their inner rows take attention's
    // place.
    EXPECT_GE(working, 13 * narrow) << name;
    EXPECT_LE(working, 16 * narrow) << name;
  }
}

// Beside bf16 weights the control's pass widens the head, in full arithmetic;
// nothing else of it differs.
TEST(GrowthMemory, TheControlsPassWidensItsWeights) {
  const auto pass = [](const std::string& precision) {
    const Growths growths({"model.vocab_size=50257", "probe.windows=1",
                           "precision=" + precision});
    const int64_t kept = tensor_bytes(32 * 50257, at::kDouble);
    return growths.moment(kWide, "grow a control without noise") -
           growths.resident(kWide - 1) - kept - growths.phase(kWide).weights;
  };
  EXPECT_GT(pass("fp32"), tensor_bytes(64 * 50257, at::kFloat));
  EXPECT_EQ(pass("bf16"), pass("fp32") + tensor_bytes(64 * 50257, at::kFloat));
}

// With few words a block is the larger one; of one layer, it is all but the
// tied embedding, the head and the last norm.
TEST(GrowthMemory, TheControlsPassWidensABlock) {
  const auto growths_in = [](const std::string& precision) {
    return Growths({"model.vocab_size=300", "model.num_hidden_layers=1",
                    "probe.windows=1", "precision=" + precision});
  };
  const auto pass = [](const Growths& growths) {
    return growths.moment(kWide, "grow a control without noise") -
           growths.resident(kWide - 1) - 32 * 300 * 8 -
           growths.phase(kWide).weights;
  };
  const Growths wide = growths_in("fp32");
  const int64_t block = wide.phase(kWide).parameters.total - 2 * 300 * 64 - 64;
  EXPECT_EQ(pass(growths_in("bf16")), pass(wide) + 4 * block);
}

// A matrix of the parent, as grown, as trained, and their difference.
TEST(GrowthMemory, AfterThePhaseAMatrixIsThereFourTimes) {
  const Growths growths({"model.vocab_size=50257", "probe.router_tokens=1"});
  EXPECT_EQ(growths.moment(kWide, "prove the phase"),
            growths.resident(kWide) + 4 * tensor_bytes(50257 * 64, at::kFloat));
}

TEST(GrowthMemory, NoNoiseNoControl) {
  const Growths growths({"model.vocab_size=300"});
  for (const size_t i : {kMoe, kWide, kDeep}) {
    EXPECT_EQ(growths.moment(i, "grow a control without noise") >= 0,
              i == kWide);
  }
}

}  // namespace
}  // namespace annuli::budget

#include "annuli/verify/sketch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "annuli/grow/apply.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/normal_fill.h"
#include "tests/support/tiny_model.h"

namespace annuli::verify {
namespace {

// A parent, its widening by n, and any of the child's tensors made and judged.
class SketchTest : public ::testing::Test {
 protected:
  void widen(int64_t n, WidenHead head = WidenHead::kUntie) {
    recipe_ = grow::Widen(WidenPlan{n, 10, head}).recipe(parent_.config(), 3);
    table_ = tensor_table(recipe_.child);
  }
  at::Tensor child(size_t row) const {
    const grow::TensorRecipe& recipe = recipe_.tensors[row];
    return grow::apply(recipe, parent_.weight(recipe.parent), recipe_.seed,
                       parent_.dtype());
  }
  double distance(size_t row, const at::Tensor& child,
                  double factor = 1) const {
    const grow::TensorRecipe& recipe = recipe_.tensors[row];
    const int64_t from = find_row(parent_.table(), recipe.parent);
    const TensorSpec& spec = parent_.table()[from];
    return sketch_distance(sketch_of(spec, parent_.weight(from)),
                           {.parent = spec,
                            .recipe = recipe,
                            .child = table_[row],
                            .factor = factor},
                           child)
        .kept;
  }
  size_t row(Part part, int64_t layer = -1, int64_t expert = -1) const {
    return find_row(table_, part, layer, expert);
  }

  Transformer parent_ = tiny::model(
      tiny::config({.mixture = true, .gated = true, .qk_norm = true}),
      at::kFloat);
  grow::Recipe recipe_;
  TensorTable table_;
};

// Sums of some hundred fp64 terms: 1e2 * 2^-53 of the rms, 1e-14, and noise of
// 10 dB and unequal rows below a factor of a hundred.
constexpr double kRounding = 1e-12;

TEST_F(SketchTest, WhateverWasCopiedScaledAndNoisedKeepsIt) {
  widen(2);
  for (size_t row = 0; row < table_.size(); ++row) {
    EXPECT_LE(distance(row, child(row)), kRounding) << table_[row].name;
  }
}

TEST_F(SketchTest, ThirdsAreOffByTheirStorage) {
  widen(3);
  for (size_t row = 0; row < table_.size(); ++row) {
    EXPECT_LE(distance(row, child(row)),
              4 * std::numeric_limits<float>::epsilon())
        << table_[row].name;
  }
}

TEST_F(SketchTest, AFoldedGainCarriesItsFactor) {
  widen(2, WidenHead::kFold);
  const size_t norm = row(Part::kFinalNorm);
  EXPECT_EQ(distance(norm, child(norm), 0.5), 0);
  EXPECT_GE(distance(norm, child(norm)), 0.5);
}

TEST_F(SketchTest, AnyEntryMattersByItsSize) {
  widen(2);
  const size_t q = row(Part::kQ, 1);
  for (const int64_t entry : {0, 100, 1151}) {
    const at::Tensor changed = child(q);
    changed.view(-1)[entry].add_(1e-4);
    EXPECT_GE(distance(q, changed), 1e-6) << entry;
  }
}

TEST_F(SketchTest, TwoColumnsSwappedAreSeenUnlessTheyAreCopies) {
  widen(2);
  const size_t up = row(Part::kUp, 0, 1);
  const auto swapped = [&](int64_t a, int64_t b) {
    const at::Tensor tensor = child(up);
    const at::Tensor first = tensor.select(1, a).clone();
    tensor.select(1, a).copy_(tensor.select(1, b));
    tensor.select(1, b).copy_(first);
    return tensor;
  };
  EXPECT_GE(distance(up, swapped(0, 1)), 1e-3);
  // Columns 0 and 24 read equal inputs: the same function.
  EXPECT_LE(distance(up, swapped(0, 24)), kRounding);
}

TEST_F(SketchTest, AnUntiedHeadIsTheTableTurned) {
  widen(2);
  const size_t head = row(Part::kHead);
  const at::Tensor right = child(head);
  EXPECT_LE(distance(head, right), kRounding);
  EXPECT_GE(distance(head, right * 2), 0.5);
  // Copies of unequal share compute the same on equal inputs, but are not what
  // the recipe makes; the head's copies show one by one.
  const at::Tensor shifted = right.clone();
  const int64_t half = shifted.size(1) / 2;
  shifted.narrow(1, 0, half).mul_(1.5);
  shifted.narrow(1, half, half).mul_(0.5);
  EXPECT_GE(distance(head, shifted), 0.1);
}

TEST_F(SketchTest, NanAndInfinityGiveNoFiniteDistance) {
  widen(2);
  for (const Part part : {Part::kInputNorm, Part::kQ}) {
    for (const double bad : {std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity()}) {
      const at::Tensor changed = child(row(part, 0));
      changed.view(-1)[3].fill_(bad);
      EXPECT_FALSE(std::isfinite(distance(row(part, 0), changed)));
    }
  }
}

TEST_F(SketchTest, OutlivesTheTensor) {
  const at::Tensor gain =
      parent_.weight(find_row(parent_.table(), Part::kInputNorm, 0));
  const Sketch sketch = sketch_of(parent_.table()[1], gain);
  const double before = sketch.value[0].item<double>();
  gain.fill_(5);
  EXPECT_EQ(sketch.value[0].item<double>(), before);
}

// A shared expert's gate has one row, and so one result, which may be near 0 by
// chance. What storing rounds is judged against what it is on average; an entry
// that is off by a hundredth still shows.
TEST(SketchOfOneRow, IsNotRefusedByChance) {
  TensorSpec spec{.part = Part::kSharedGate,
                  .dimensions = {{Axis::kUnit, AxisRole::kProduced, 1},
                                 {Axis::kResidual, AxisRole::kContracted, 64}}};
  grow::TensorRecipe line;
  line.shape = {1, 64};
  line.dimensions = {{{{0, 1}}, 1}, {{{0, 64}}, 1}};
  for (int i = 0; i < 200; ++i) {
    spec.name = "gate " + std::to_string(i);
    at::Tensor parent = at::empty({1, 64}, at::kDouble);
    kernels::fill_normal(parent, CounterRng(i, "one row"), 0.1);
    const auto kept = [&](const at::Tensor& child) {
      return sketch_distance(sketch_of(spec, parent),
                             {.parent = spec, .recipe = line, .child = spec},
                             child)
          .kept;
    };
    at::Tensor child = parent.to(at::kFloat);
    EXPECT_LE(kept(child), 8 * 0x1p-24) << i;
    child.view(-1)[i % 64].add_(0.001);
    EXPECT_GT(kept(child), 8 * 0x1p-24) << i;
  }
}

}  // namespace
}  // namespace annuli::verify

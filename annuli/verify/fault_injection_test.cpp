// Every operator's right child passes; with any one tensor damaged, whatever
// its part, it is refused and the tensor named.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <set>
#include <string>

#include "annuli/core/error.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/transforms/fill.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/verify/drawn_anew.h"
#include "annuli/verify/functional_identity.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/tensor_audit.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

double rms(const at::Tensor& tensor) {
  return tensor.to(at::kDouble).square().mean().sqrt().item<double>();
}

// One entry by 1 % of the tensor's rms; a tensor of zeros by 1 % of 1.
void nudge(const at::Tensor& tensor, int64_t entry) {
  const double size = rms(tensor);
  tensor.view(-1)[entry].add_(0.01 * (size > 0 ? size : 1));
}

// 1 where nobody can say what an entry must be: it was drawn.
at::Tensor free_entries(const grow::TensorRecipe& recipe, uint64_t seed) {
  at::Tensor free = at::zeros(recipe.shape, at::kDouble);
  for (size_t d = 0; d < recipe.dimensions.size(); ++d) {
    const auto dim = static_cast<int64_t>(d);
    const at::Tensor drawn = drawn_anew(recipe, dim, seed);
    int64_t begin = 0;
    for (const grow::Slice& slice : recipe.dimensions[d].slices) {
      at::Tensor part = free.narrow(dim, begin, slice.length);
      if (slice.is_new() && recipe.find<grow::Fill>() != nullptr) part.fill_(1);
      begin += slice.length;
    }
    if (!drawn.defined()) continue;
    std::vector<int64_t> shape(recipe.shape.size(), 1);
    shape[d] = recipe.shape[d];
    free += drawn.view(shape);
  }
  return free;
}

// The first from two thirds of the tensor on that is not free.
int64_t bound_entry(const grow::TensorRecipe& recipe, uint64_t seed) {
  const at::Tensor free = free_entries(recipe, seed).view(-1);
  int64_t entry = free.numel() * 2 / 3;
  while (free[entry].item<double>() > 0) entry = (entry + 1) % free.numel();
  return entry;
}

void halve(const at::Tensor& tensor) {
  if (rms(tensor) > 0) {
    tensor.mul_(0.5);
  } else {
    tensor.fill_(0.5);
  }
}

void make_one_entry_nan(const at::Tensor& tensor) {
  tensor.view(-1)[tensor.numel() - 1].fill_(
      std::numeric_limits<double>::quiet_NaN());
}

// The last row of every part: the last layer (a new one after deepening) and
// the last expert; and the parent's own layer 1.
std::vector<size_t> rows_of_every_part(const TensorTable& table) {
  std::map<std::pair<Part, bool>, size_t> last;
  for (size_t row = 0; row < table.size(); ++row) {
    last[{table[row].part, table[row].layer == 1}] = row;
  }
  std::set<size_t> rows;
  for (const auto& [key, row] : last) rows.insert(row);
  return {rows.begin(), rows.end()};
}

std::string thrown_by_require(const std::vector<Verdict>& verdicts) {
  try {
    require(verdicts);
  } catch (const VerdictError& error) {
    return error.what();
  }
  return "";
}

void expect_refused(const std::vector<Verdict>& verdicts,
                    const TensorSpec& spec, const std::string& fault) {
  SCOPED_TRACE(fault + " " + spec.name);
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr) << tiny::lines(verdicts);
  EXPECT_EQ(failure->tensor, spec.name) << tiny::lines(verdicts);
  EXPECT_EQ(failure->layer, spec.layer);
  const std::string text = thrown_by_require(verdicts);
  EXPECT_NE(text.find(failure->check + " failed"), std::string::npos) << text;
  EXPECT_NE(text.find(spec.name), std::string::npos) << text;
  if (spec.layer >= 0) {
    EXPECT_NE(text.find(", layer " + std::to_string(spec.layer) + ", "),
              std::string::npos)
        << text;
  }
}

class FaultInjection : public ::testing::TestWithParam<tiny::GrowthCase> {
 protected:
  FaultInjection()
      : pair_(tiny::grown_pair(GetParam().flavour, *GetParam().op)) {}

  // What `judge` says of the child with that tensor damaged, then undone.
  template <typename Damage, typename Judge>
  auto with_damage(size_t row, const Damage& damage, const Judge& judge) {
    const at::Tensor tensor = pair_.child.weight(row);
    const at::Tensor right = tensor.clone();
    damage(tensor);
    auto result = judge();
    tensor.copy_(right);
    return result;
  }

  std::vector<Verdict> audit() const {
    return tensor_audit({pair_.record.sketches}, pair_.recipe, pair_.child,
                        pair_.record.feed_forward_mean);
  }
  std::vector<Verdict> identity() const {
    return functional_identity(pair_.record, pair_.recipe, pair_.probe,
                               pair_.child);
  }
  const TensorTable& table() const { return pair_.child.table(); }
  std::vector<size_t> rows() const { return rows_of_every_part(table()); }

  // The tensor that an audit names: of shards that are judged by their sum, the
  // last one of the copy.
  const TensorSpec& named(size_t row) const {
    const TensorSpec& spec = table()[row];
    const grow::TensorRecipe& tensor = pair_.recipe.tensors[row];
    const bool summed = spec.part == Part::kDown && is_upcycle(pair_.recipe) &&
                        tensor.source == grow::Source::kParent &&
                        tensor.dimensions[1].copies < tensor.contracted_copies;
    if (!summed) return spec;
    const int64_t shards = shards_of(pair_.recipe);
    const int64_t last = (spec.expert / shards + 1) * shards - 1;
    return table()[pair_.row(spec.part, spec.layer, last)];
  }

  // Not, for all or for the tokens of the probe: the routers while experts are
  // equal, biases that choices are not near, experts that are closed, experts
  // beside a shared one whose outputs are zero, what stands before zero outputs
  // in a new layer, and the scale of what a norm follows.
  bool shows_in_function(const TensorSpec& spec) const {
    const grow::Recipe& recipe = pair_.recipe;
    const bool post = recipe.child.norm_placement == NormPlacement::kPost;
    const std::vector<bool> closed = closed_by(recipe);
    if (spec.part == Part::kSelectionBias) return false;
    if (spec.expert >= 0 && !closed.empty() && closed[spec.expert]) {
      return false;
    }
    const bool block_norm = spec.part == Part::kAttentionOutNorm ||
                            spec.part == Part::kFeedForwardOutNorm;
    const bool output = spec.part == Part::kO || spec.part == Part::kDown;
    if (!recipe.exact) return false;
    if (spec.layer >= 0 && !recipe.layer_is_mapped[spec.layer]) {
      return post ? block_norm : output;
    }
    const bool linear =
        output || spec.part == Part::kV || spec.part == Part::kUp;
    if (post && linear) return false;
    if (spec.part == Part::kRouter) return recipe.parent.is_mixture();
    const bool adds_nothing = is_upcycle(recipe) && spec.expert >= 0 &&
                              recipe.child.has_shared_expert();
    if (adds_nothing) return output;
    const bool normed = spec.part == Part::kQ || spec.part == Part::kK;
    return !(normed && recipe.child.qk_norm != QkNorm::kNone);
  }

  tiny::GrownPair pair_;
};

INSTANTIATE_TEST_SUITE_P(Growths, FaultInjection,
                         ::testing::ValuesIn(tiny::growth_cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(FaultInjection, UnbrokenPasses) {
  const auto verdicts = pair_.verdicts();
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  EXPECT_NO_THROW(require(verdicts));
}

TEST_P(FaultInjection, EveryPartDamagedIsNamed) {
  const auto judge = [&] { return pair_.verdicts(); };
  for (const size_t row : rows()) {
    expect_refused(with_damage(row, halve, judge), table()[row], "halved");
    expect_refused(with_damage(row, make_one_entry_nan, judge), table()[row],
                   "NaN in");
  }
  // Every damage was undone.
  EXPECT_EQ(tiny::first_failure(pair_.verdicts()), nullptr);
}

TEST_P(FaultInjection, EveryTensorWithOneEntryNudgedIsNamed) {
  for (size_t row = 0; row < table().size(); ++row) {
    const int64_t entry =
        bound_entry(pair_.recipe.tensors[row], pair_.recipe.seed);
    const auto damage = [&](const at::Tensor& tensor) { nudge(tensor, entry); };
    expect_refused(with_damage(row, damage, [&] { return audit(); }),
                   named(row), "nudged");
  }
  EXPECT_EQ(tiny::first_failure(audit()), nullptr);
}

TEST_P(FaultInjection, EveryUninitialisedTensorIsNamed) {
  for (size_t row = 0; row < table().size(); ++row) {
    at::Tensor taken = pair_.child.take_weight(row);
    expect_refused(pair_.verdicts(), table()[row], "uninitialised");
    pair_.child.set_weight(row, taken);
  }
  EXPECT_EQ(tiny::first_failure(pair_.verdicts()), nullptr);
}

// The audit sees every damage first; the function must see by itself what is
// part of the function.
TEST_P(FaultInjection, FunctionalIdentityAloneSeesEveryPartOfTheFunction) {
  for (const size_t row : rows()) {
    const TensorSpec& spec = table()[row];
    if (!shows_in_function(spec)) continue;
    const auto verdicts = with_damage(row, halve, [&] { return identity(); });
    EXPECT_NE(tiny::first_failure(verdicts), nullptr) << spec.name;
  }
}

// What post-norm takes out of the function again, but for eps, the audit sees.
TEST(PostNorm, AScaledOutputIsTheAuditsToFind) {
  tiny::GrownPair pair =
      tiny::grown_pair({.gated = true, .tied = false, .post_norm = true},
                       grow::Widen(WidenPlan{2, 10, WidenHead::kUntie}));
  for (const Part part : {Part::kO, Part::kDown}) {
    const at::Tensor weight = pair.weight(part, 1);
    weight.mul_(2);
    const auto verdicts = pair.verdicts();
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr);
    EXPECT_EQ(failure->check, "tensor_audit");
    EXPECT_EQ(failure->tensor, pair.child.table()[pair.row(part, 1)].name);
    weight.mul_(0.5);
  }
}

// Dropping that dropped nothing leaves plain copies, every check's delight.
TEST(DropUpcycling, UnitsThatAreStillTheParentsAreFound) {
  const tiny::Flavour flavour{.gated = true, .tied = false};
  const grow::Upcycle drop(UpcyclePlan{.num_experts = 4, .drop_ratio = 0.5});
  tiny::GrownPair pair = tiny::grown_pair(flavour, drop);
  ASSERT_EQ(tiny::first_failure(pair.verdicts()), nullptr);
  for (const Part part : {Part::kGate, Part::kUp, Part::kDown}) {
    const size_t row = pair.row(part, 1, 2);
    const at::Tensor weight = pair.child.weight(row);
    const at::Tensor right = weight.clone();
    weight.copy_(pair.parent.weight(pair.recipe.tensors[row].parent));
    const auto verdicts = pair.verdicts();
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr) << to_string(part);
    EXPECT_EQ(failure->tensor, pair.child.table()[row].name);
    weight.copy_(right);
  }
}

// The recipe itself is checked: it must use the whole parent and make the whole
// child, no more.
class RecipeFaults : public ::testing::Test {
 protected:
  void expect_refused_for(const std::string& tensor, int64_t layer) {
    const auto verdicts = pair_.verdicts();
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr);
    EXPECT_EQ(failure->check, "tensor_audit");
    EXPECT_EQ(failure->tensor, tensor);
    EXPECT_EQ(failure->layer, layer);
    EXPECT_THROW(require(verdicts), VerdictError);
  }

  tiny::GrownPair pair_ =
      tiny::grown_pair({.mixture = true, .gated = true},
                       grow::Widen(WidenPlan{2, 10, WidenHead::kUntie}));
};

TEST_F(RecipeFaults, AParentTensorWithoutUse) {
  const size_t row = pair_.row(Part::kDown, 1, 2);
  pair_.recipe.tensors[row].parent =
      pair_.recipe.tensors[pair_.row(Part::kDown, 0, 2)].parent;
  expect_refused_for(pair_.child.table()[row].name, 1);
}

TEST_F(RecipeFaults, AChildTensorWithoutARecipe) {
  pair_.recipe.tensors.pop_back();
  expect_refused_for("lm_head.weight", -1);
}

TEST_F(RecipeFaults, ARecipeOfAnotherTensor) {
  pair_.recipe.tensors[pair_.row(Part::kV, 2)].child = "something.else";
  expect_refused_for("model.layers.2.self_attn.v_proj.weight", 2);
}

TEST_F(RecipeFaults, ARecipeWithoutAChildTensor) {
  pair_.recipe.tensors.push_back(pair_.recipe.tensors.back());
  pair_.recipe.tensors.back().child = "one.too.many";
  expect_refused_for("one.too.many", -1);
}

}  // namespace
}  // namespace annuli::verify

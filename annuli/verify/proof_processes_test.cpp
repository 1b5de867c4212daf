// Processes that prove a growth together give the verdicts of one that proves
// it alone, and none of them does all of it.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/model/weight_parts.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/verify_growth.h"
#include "tests/support/grown_pair.h"
#include "tests/support/pass_count.h"
#include "tests/support/thread_group.h"

namespace annuli::verify {
namespace {

using parallel::ProcessGroup;

constexpr int64_t kWindows = 5;  // no number of processes divides it

Probe probe_of(const ModelConfig& config) {
  Probe probe = tiny::probe(config);
  probe.tokens.clear();
  probe.targets.clear();
  for (uint64_t i = 0; i < kWindows; ++i) {
    const at::Tensor drawn = tiny::tokens(1, 33, config.vocab_size, 100 + i);
    probe.tokens.push_back(drawn.narrow(1, 0, 32).clone());
    probe.targets.push_back(drawn.narrow(1, 1, 32).clone());
  }
  return probe;
}

// What is done to the child before it is judged.
using Harm = void (*)(Transformer& child);

struct Outcome {
  std::string verdicts;  // as JSON, every digit
  double loss = 0;
  bool passed = false;
  int64_t record_passes = 0;
  int64_t proof_passes = 0;
};

auto counting(int64_t& passes, const auto& work) {
  const test::PassCount count;
  auto result = work();
  passes = count.passes();
  return result;
}

Outcome prove(const Transformer& original, const grow::Recipe& recipe,
              ProcessGroup& group, bool in_parts, Harm harm) {
  const Probe probe = probe_of(recipe.parent);
  Transformer parent = tiny::clone(original);
  if (in_parts) hold_in_parts(parent, group);
  const ProbeDivision division(probe, recipe, group, in_parts);
  Outcome outcome;
  const auto record = counting(outcome.record_passes, [&] {
    return ParentRecord::take(parent, probe, recipe.width_factor > 1, division);
  });
  outcome.loss = record.loss;
  std::optional<SymmetryControl> control;
  if (recipe.has_noise()) {
    control = symmetry_control(parent, recipe, probe, group);
  }
  Transformer child =
      grow::grow(std::move(parent), recipe, record.feed_forward_mean);
  harm(child);
  auto verdicts = counting(outcome.proof_passes, [&] {
    return verify_growth({.parent = record,
                          .recipe = recipe,
                          .probe = probe,
                          .control = control ? &*control : nullptr},
                         child);
  });
  outcome.passed = tiny::first_failure(verdicts) == nullptr;
  for (const Verdict& verdict : verify_phase(
           {.recipe = recipe, .probe = probe, .group = group}, child)) {
    verdicts.push_back(verdict);
  }
  outcome.verdicts = to_json(verdicts).dump();
  return outcome;
}

std::vector<Outcome> prove_together(const Transformer& parent,
                                    const grow::Recipe& recipe,
                                    int64_t processes, bool in_parts,
                                    Harm harm) {
  std::vector<Outcome> outcomes(processes);
  test::run_together(processes, [&](ProcessGroup& group) {
    outcomes[group.rank()] = prove(parent, recipe, group, in_parts, harm);
  });
  return outcomes;
}

void leave_whole(Transformer& child) {}

// By every number of processes, with all weights and with parts.
void expect_same(const Transformer& parent, const grow::Recipe& recipe,
                 const std::vector<int64_t>& numbers, Harm harm, bool passes) {
  const Outcome alone =
      prove(parent, recipe, parallel::solo(), /*in_parts=*/false, harm);
  EXPECT_EQ(alone.passed, passes) << alone.verdicts;
  for (const int64_t processes : numbers) {
    for (const bool in_parts : {false, true}) {
      SCOPED_TRACE(std::to_string(processes) + (in_parts ? " in parts" : ""));
      for (const Outcome& outcome :
           prove_together(parent, recipe, processes, in_parts, harm)) {
        EXPECT_EQ(outcome.verdicts, alone.verdicts);
        EXPECT_EQ(outcome.loss, alone.loss);
      }
    }
  }
}

class ProofProcesses : public ::testing::TestWithParam<tiny::GrowthCase> {};

TEST_P(ProofProcesses, GiveTheVerdictsOfOne) {
  const Transformer parent =
      tiny::model(tiny::config(GetParam().flavour), at::kFloat);
  expect_same(parent, GetParam().op->recipe(parent.config(), 3), {2, 4},
              leave_whole, true);
}

std::vector<tiny::GrowthCase> single_parent_cases() {
  std::vector<tiny::GrowthCase> cases;
  for (const tiny::GrowthCase& growth : tiny::growth_cases()) {
    const Transformer shape(tiny::config(growth.flavour), at::kFloat);
    if (growth.op->recipe(shape.config(), 3).models == 1) {
      cases.push_back(growth);
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Growths, ProofProcesses,
                         ::testing::ValuesIn(single_parent_cases()),
                         [](const auto& info) { return info.param.name; });

Transformer dense_parent() {
  return tiny::model(tiny::config({.gated = true, .num_key_value_heads = 2}),
                     at::kFloat);
}

Transformer mixture_parent() {
  return tiny::model(tiny::config({.mixture = true, .gated = true}),
                     at::kFloat);
}

grow::Recipe widening(const Transformer& parent) {
  return grow::Widen(WidenPlan{.factor = 2}).recipe(parent.config(), 3);
}

grow::Recipe upcycling(const Transformer& parent) {
  return grow::Upcycle(UpcyclePlan{.num_experts = 4, .num_experts_per_tok = 2})
      .recipe(parent.config(), 3);
}

// A tensor's owner alone has it where the model is in parts.
void harm(Transformer& child, Part part, int64_t layer, int64_t expert,
          double factor) {
  const auto row =
      static_cast<size_t>(find_row(child.table(), part, layer, expert));
  const bool here = child.parts() == nullptr || child.parts()->is_own(row);
  if (here) child.weight(row).mul_(factor);
}

TEST(ProofProcesses, NameTheFaultThatOneNames) {
  const Transformer dense = dense_parent();
  const Transformer mixture = mixture_parent();
  expect_same(
      dense, widening(dense), {2, 4},
      [](Transformer& child) { harm(child, Part::kK, 1, -1, 1.01); }, false);
  expect_same(
      mixture, widening(mixture), {2, 4},
      [](Transformer& child) { harm(child, Part::kRouter, 1, -1, 2); }, false);
  expect_same(
      dense, upcycling(dense), {2, 4},
      [](Transformer& child) { harm(child, Part::kDown, 2, 3, 1.01); }, false);
}

// Five windows, two of them in fp64, and the router's tokens; of an upcycling
// the windows pass the child twice, once in equal shapes.
TEST(ProofProcesses, DivideThePasses) {
  const auto count = [](const std::vector<Outcome>& outcomes) {
    std::pair<int64_t, int64_t> sum;
    for (const Outcome& outcome : outcomes) {
      sum.first += outcome.record_passes;
      sum.second += outcome.proof_passes;
    }
    return sum;
  };
  const auto most = [](const std::vector<Outcome>& outcomes) {
    std::pair<int64_t, int64_t> most;
    for (const Outcome& outcome : outcomes) {
      most.first = std::max(most.first, outcome.record_passes);
      most.second = std::max(most.second, outcome.proof_passes);
    }
    return most;
  };
  using Counts = std::pair<int64_t, int64_t>;
  const Transformer parent = dense_parent();
  const auto together = [&](const grow::Recipe& recipe, int64_t processes,
                            bool in_parts) {
    return prove_together(parent, recipe, processes, in_parts, leave_whole);
  };
  // All of them make the symmetry check's pass through the child.
  for (const int64_t n : {1, 2, 4}) {
    EXPECT_EQ(count(together(widening(parent), n, false)),
              Counts(kWindows + 2, kWindows + 1 + n));
    EXPECT_EQ(count(together(upcycling(parent), n, false)),
              Counts(kWindows + 1, 2 * kWindows + 1));
  }
  // Those that have fewer pass one token where the weights are in parts.
  EXPECT_EQ(most(together(widening(parent), 2, true)), Counts(4, 5));
  EXPECT_EQ(count(together(widening(parent), 2, true)), Counts(8, 10));
  EXPECT_LE(most(together(upcycling(parent), 2, false)).second, 9);
}

}  // namespace
}  // namespace annuli::verify

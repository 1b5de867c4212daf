#include "tests/support/grown_pair.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/verify/verify_growth.h"

namespace annuli::tiny {
namespace {

// Tensors of some hundred entries: a second thread would only be waited for.
class OneThread : public ::testing::Environment {
 public:
  void SetUp() override { at::set_num_threads(1); }
};
const ::testing::Environment* const kOneThread =
    ::testing::AddGlobalTestEnvironment(new OneThread);

bool has_noise(const grow::Recipe& recipe) {
  for (const grow::TensorRecipe& tensor : recipe.tensors) {
    if (tensor.noise) return true;
  }
  return false;
}

void add_case(std::vector<GrowthCase>& cases, const char* name,
              const Flavour& flavour,
              std::shared_ptr<const grow::Operator> op) {
  cases.push_back(
      {std::string(name) + "_" + name_of(flavour), flavour, std::move(op)});
}

}  // namespace

verify::Probe probe(const ModelConfig& config) {
  verify::Probe probe;
  for (uint64_t window = 0; window < 2; ++window) {
    probe.tokens.push_back(tokens(1, 16, config.vocab_size, 20 + 2 * window));
    probe.targets.push_back(tokens(1, 16, config.vocab_size, 21 + 2 * window));
  }
  probe.router_tokens = tokens(4, 64, config.vocab_size, 30);
  return probe;
}

std::vector<verify::Verdict> GrownPair::verdicts() {
  return verify::verify_growth({.parent = record,
                                .recipe = recipe,
                                .probe = probe,
                                .control = control ? &*control : nullptr,
                                .loss_budget = recipe.logit_budget},
                               child);
}

size_t GrownPair::row(Part part, int64_t layer, int64_t expert) const {
  const int64_t row = find_row(child.table(), part, layer, expert);
  ANNULI_CHECK(row >= 0, "no {} in layer {}", to_string(part), layer);
  return static_cast<size_t>(row);
}

at::Tensor GrownPair::weight(Part part, int64_t layer, int64_t expert) const {
  return child.weight(row(part, layer, expert));
}

GrownPair grown_pair(const Transformer& parent, const grow::Recipe& recipe) {
  const verify::Probe text = probe(parent.config());
  auto record =
      verify::ParentRecord::take(parent, text, recipe.width_factor > 1);
  std::optional<verify::SymmetryControl> control;
  if (has_noise(recipe)) {
    control = verify::symmetry_control(parent, recipe, text);
  }
  Transformer child =
      grow::grow(clone(parent), recipe, record.feed_forward_mean);
  return {clone(parent),     text,    recipe,
          std::move(record), control, std::move(child)};
}

GrownPair grown_pair(const Flavour& flavour, const grow::Operator& op,
                     at::ScalarType dtype) {
  const Transformer parent = model(config(flavour), dtype);
  return grown_pair(parent, op.recipe(parent.config(), 3));
}

std::vector<GrowthCase> growth_cases() {
  using std::make_shared;
  const std::vector<Flavour> dense = {
      {.gated = false, .tied = true},
      {.gated = true, .tied = true, .qk_norm = true, .num_key_value_heads = 2},
      {.gated = true, .tied = false, .num_key_value_heads = 1}};
  const std::vector<Flavour> mixtures = {
      {.mixture = true, .gated = false, .tied = false},
      {.mixture = true,
       .gated = true,
       .tied = true,
       .qk_norm = true,
       .num_key_value_heads = 2}};
  std::vector<Flavour> all = dense;
  all.insert(all.end(), mixtures.begin(), mixtures.end());

  std::vector<GrowthCase> cases;
  for (const Flavour& flavour : dense) {
    add_case(cases, "upcycle", flavour,
             make_shared<grow::Upcycle>(
                 UpcyclePlan{.num_experts = 4, .num_experts_per_tok = 2}));
  }
  for (const Flavour& flavour : all) {
    add_case(cases, "widen2", flavour,
             make_shared<grow::Widen>(WidenPlan{2, 10, WidenHead::kUntie}));
    if (flavour.tied) {
      add_case(cases, "widen2_fold", flavour,
               make_shared<grow::Widen>(WidenPlan{2, 10, WidenHead::kFold}));
    }
    add_case(cases, "widen3", flavour,
             make_shared<grow::Widen>(WidenPlan{3, 10, WidenHead::kUntie}));
    add_case(cases, "deepen", flavour,
             make_shared<grow::Deepen>(DeepenPlan{.add_layers = 2}));
  }
  return cases;
}

const verify::Verdict* first_failure(
    const std::vector<verify::Verdict>& verdicts) {
  for (const verify::Verdict& verdict : verdicts) {
    if (!verdict.passed) return &verdict;
  }
  return nullptr;
}

const verify::Verdict* first_failure(
    const std::vector<verify::Verdict>& verdicts, const std::string& check) {
  for (const verify::Verdict& verdict : verdicts) {
    if (verdict.check == check && !verdict.passed) return &verdict;
  }
  return nullptr;
}

std::string lines(const std::vector<verify::Verdict>& verdicts) {
  std::string text;
  for (const verify::Verdict& verdict : verdicts) {
    text += to_line(verdict) + "\n";
  }
  return text;
}

}  // namespace annuli::tiny

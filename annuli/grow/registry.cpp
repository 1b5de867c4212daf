#include "annuli/grow/registry.h"

#include <algorithm>
#include <optional>
#include <string>

#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/merge_experts.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"

namespace annuli::grow {
namespace {

template <typename Op, typename Options>
std::unique_ptr<Operator> make_if(const std::optional<Options>& options) {
  if (!options) return nullptr;
  return std::make_unique<Op>(*options);
}

std::unique_ptr<Operator> make_chain(const GrowPlan& plan) {
  if (plan.chain.empty()) return nullptr;
  return std::make_unique<Chain>(plan.chain);
}

}  // namespace

const std::vector<RegistryEntry>& registry() {
  static const std::vector<RegistryEntry> entries = {
      {"upcycle", "Komatsuzaki et al., Sparse Upcycling, 2212.05055",
       "the function, for any router; nothing with units drawn anew",
       [](const GrowPlan& p) { return make_if<Upcycle>(p.upcycle); }},
      {"widen", "Samragh et al., HyperCloning, 2409.12903",
       "the function to rounding, noise or not; every residual stream, copied",
       [](const GrowPlan& p) { return make_if<Widen>(p.widen); }},
      {"deepen", "Du et al., Stacking Your Transformers, 2405.15319",
       "the function exactly with `outputs: zero`; otherwise nothing",
       [](const GrowPlan& p) { return make_if<Deepen>(p.deepen); }},
      {"expand_experts", "Orthogonal growth, 2510.08008",
       "the function if the chosen experts grow as well; otherwise nothing",
       [](const GrowPlan& p) {
         return make_if<ExpandExperts>(p.expand_experts);
       }},
      {"merge_experts", "Sukhbaatar et al., Branch-Train-MiX, 2403.07816",
       "nothing; each expert is one of the parents'",
       [](const GrowPlan& p) {
         return make_if<MergeExperts>(p.merge_experts);
       }},
      {"chain", "several of the above in one pass",
       "what all of its steps preserve", make_chain},
  };
  return entries;
}

std::unique_ptr<Operator> make_operator(const GrowPlan& plan) {
  std::unique_ptr<Operator> chosen;
  for (const RegistryEntry& entry : registry()) {
    std::unique_ptr<Operator> made = entry.make(plan);
    if (!made) continue;
    ANNULI_CHECK(!chosen, "a plan names {} and {}", chosen->name(), entry.name);
    chosen = std::move(made);
  }
  ANNULI_CHECK(chosen, "a growth step names no operator");
  return chosen;
}

bool is_operator(const std::string& name) {
  return std::ranges::any_of(registry(), [&](const RegistryEntry& entry) {
    return name == entry.name;
  });
}

const RegistryEntry& find_operator(const std::string& name) {
  std::vector<std::string> names;
  for (const RegistryEntry& entry : registry()) {
    if (name == entry.name) return entry;
    names.push_back(entry.name);
  }
  std::string all;
  for (const std::string& known : names) {
    all.append(all.empty() ? "" : ", ").append(known);
  }
  user_error("choosing a growth operator: no '{}'{}; expected one of {}", name,
             did_you_mean(name, names), all);
}

}  // namespace annuli::grow

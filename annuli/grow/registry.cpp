#include "annuli/grow/registry.h"

#include <optional>
#include <string>

#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"

namespace annuli::grow {
namespace {

template <typename Op, typename Options>
std::unique_ptr<Operator> make_if(const std::optional<Options>& options) {
  if (!options) return nullptr;
  return std::make_unique<Op>(*options);
}

}  // namespace

const std::vector<RegistryEntry>& registry() {
  static const std::vector<RegistryEntry> entries = {
      {"upcycle", "Komatsuzaki et al., Sparse Upcycling, 2212.05055",
       "the function, bit for bit in equal GEMM shapes, for any router",
       [](const GrowPlan& p) { return make_if<Upcycle>(p.upcycle); }},
      {"widen", "Samragh et al., HyperCloning, 2409.12903",
       "the function to rounding, noise or not; every residual stream, tiled",
       [](const GrowPlan& p) { return make_if<Widen>(p.widen); }},
      {"deepen", "Du et al., Stacking Your Transformers, 2405.15319",
       "the function exactly with `outputs: zero`; otherwise nothing",
       [](const GrowPlan& p) { return make_if<Deepen>(p.deepen); }},
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

const RegistryEntry& find_operator(const std::string& name) {
  std::vector<std::string> names;
  for (const RegistryEntry& entry : registry()) {
    if (name == entry.name) return entry;
    names.push_back(entry.name);
  }
  user_error(
      "choosing a growth operator: no '{}'{}; try upcycle, widen or "
      "deepen",
      name, did_you_mean(name, names));
}

}  // namespace annuli::grow

#include "annuli/grow/registry.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>

#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/extend.h"
#include "annuli/grow/merge_experts.h"
#include "annuli/grow/transforms/closed_copies.h"
#include "annuli/grow/transforms/drop.h"
#include "annuli/grow/transforms/fill.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/transforms/perturb.h"
#include "annuli/grow/transforms/random_router.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"

namespace annuli::grow {
namespace {

struct Words {
  const char* paper;
  const char* preserves;
  const char* sentence;
  const char* example;
};

// An operator that is a function from options to a rule.
template <typename Op>
RegistryEntry entry(const char* name, const Words& words) {
  return {
      name,
      words.paper,
      words.preserves,
      words.sentence,
      words.example,
      [](const GrowPlan& plan) {
        std::unique_ptr<Operator> made;
        visit_operators(
            [&](const Field&, const auto& options) {
              if constexpr (std::is_same_v<
                                decltype(options),
                                const std::optional<typename Op::Options>&>) {
                if (options) made = std::make_unique<Op>(*options);
              }
            },
            plan);
        return made;
      }};
}

std::unique_ptr<Operator> make_chain(const GrowPlan& plan) {
  if (plan.chain.empty()) return nullptr;
  return std::make_unique<Chain>(plan.chain);
}

}  // namespace

const std::vector<RegistryEntry>& registry() {
  static const std::vector<RegistryEntry> entries = {
      entry<Upcycle>(
          "upcycle",
          {"Komatsuzaki et al., Sparse Upcycling, 2212.05055",
           "the function, for any router; nothing with units drawn anew",
           "Turn each feed-forward into experts that copy it and a router; the "
           "function is kept, except with --drop-ratio or with copies that are "
           "chosen in parts (--granularity).",
           "annuli grow upcycle SmolLM2-135M --out SmolLM2-8x --num-experts 8 "
           "--num-experts-per-tok 2"}),
      entry<Widen>(
          "widen",
          {"Samragh et al., HyperCloning, 2409.12903",
           "the function to rounding, noise or not; every residual stream, "
           "copied",
           "Make every matrix wider by tiling it; the function is kept, and "
           "noise that cancels sets the copies apart.",
           "annuli grow widen SmolLM2-135M --out SmolLM2-wide --factor 2 "
           "--noise-snr-db 10"}),
      entry<Deepen>(
          "deepen",
          {"Du et al., Stacking Your Transformers, 2405.15319",
           "the function exactly with `outputs: zero`; otherwise nothing",
           "Add layers that copy others, or are random (--weights random), and "
           "begin with zero outputs; the function is kept, except with "
           "--outputs keep.",
           "annuli grow deepen SmolLM2-135M --out SmolLM2-deep --preset "
           "interpose --add-layers 6"}),
      entry<ExpandExperts>(
          "expand_experts",
          {"Orthogonal growth, 2510.08008",
           "the function if the chosen experts grow as well, or with selection "
           "biases that close the copies; otherwise nothing",
           "Copy each expert and choose as many times more of them, or as many "
           "as before with --selection-bias; the function is kept, except with "
           "another --num-experts-per-tok.",
           "annuli grow expand-experts Mixtral-8x --out Mixtral-16x --factor "
           "2"}),
      entry<MergeExperts>(
          "merge_experts",
          {"Sukhbaatar et al., Branch-Train-MiX, 2403.07816",
           "nothing; each expert is one of the parents'",
           "Make the feed-forwards of several dense models the experts of one; "
           "the function is not kept, and the change of the loss is measured.",
           "annuli grow merge-experts base --with code,math --out mixture"}),
      entry<Perturbation>(
          "perturb",
          {"Ash and Adams, Shrink and Perturb, 1910.08475, without shrinking",
           "nothing; every matrix to the size of the noise",
           "Add normal noise to chosen matrices, each against its own root "
           "mean square; the function is not kept, and the change of the loss "
           "is measured.",
           "annuli grow perturb SmolLM2-135M --out SmolLM2-noisy "
           "--relative-std 0.01 --tensors attention,feed-forward"}),
      entry<Untie>(
          "untie",
          {"modded-nanogpt, 178: untied at two thirds of the training",
           "the function exactly",
           "Give a head that is the embedding's table a table of its own, "
           "equal to that; the function is kept.",
           "annuli grow untie SmolLM2-135M --out SmolLM2-untied"}),
      entry<ShrinkPerturbation>(
          "shrink_perturb",
          {"Ash and Adams, Shrink and Perturb, 1910.08475; Mallik et al., "
           "2605.13405",
           "nothing; every matrix in its direction, to the size of the noise",
           "Make every matrix smaller and add normal noise against what its "
           "root mean square was; the function is not kept, and the change of "
           "the loss is measured.",
           "annuli grow shrink-perturb SmolLM2-135M --out SmolLM2-shrunk "
           "--shrink 0.5 --relative-std 0.1"}),
      entry<Extend>(
          "extend",
          {"Peng et al., YaRN, 2309.00071; Chen et al., 2306.15595",
           "nothing that reads positions; every tensor to the bit",
           "Make sequences longer by other rotary frequencies; the function "
           "is not kept, and the change of the loss at the parent's length is "
           "measured.",
           "annuli grow extend SmolLM2-135M --out SmolLM2-long "
           "--max-position-embeddings 32768"}),
      {"chain", "several of the above in one pass",
       "what all of its steps preserve",
       "Carry out several operators in one pass, with one proof; what all of "
       "them keep is kept.",
       "annuli grow chain steps.yaml SmolLM2-135M --out SmolLM2-grown\n"
       "where steps.yaml is a list, as under `grow: {chain: ...}` of a plan:\n"
       "  - upcycle: {num_experts: 8}\n"
       "  - widen: {factor: 2, noise_snr_db: 10}\n"
       "  - deepen: {preset: stack, add_layers: 6}\n"
       "The same steps one by one, each with the same --seed, give the same "
       "weights.",
       make_chain},
  };
  return entries;
}

const std::vector<TransformKind>& transform_kinds() {
  static const std::vector<TransformKind> kinds = {
      transform_kind<RandomRouter>(), transform_kind<Fresh>(),
      transform_kind<Noise>(),        transform_kind<Fill>(),
      transform_kind<Drop>(),         transform_kind<Perturb>(),
      transform_kind<ClosedCopies>()};
  return kinds;
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
  user_error("choosing a growth operator: no '{}'{}; expected one of {}", name,
             did_you_mean(name, names), fmt::join(names, ", "));
}

}  // namespace annuli::grow

#include "annuli/config/class_notice.h"

#include <fmt/ranges.h>

#include <optional>
#include <utility>
#include <vector>

#include "annuli/config/family.h"
#include "annuli/config/grown_shape.h"
#include "annuli/config/model_from.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

bool has_class(const ModelConfig& config) {
  return !family_of(config).is_ours();
}

std::vector<GrowthStep> steps_of(const GrowPlan& growth) {
  return growth.chain.empty() ? std::vector<GrowthStep>{growth} : growth.chain;
}

// Nothing if a step cannot be applied.
std::optional<ModelConfig> shape_after(ModelConfig config,
                                       const std::vector<GrowthStep>& steps) {
  try {
    for (const GrowthStep& step : steps) {
      config = grown_shape(config, step, complain_of_growth);
    }
    validate(config);
    return config;
  } catch (const UserError&) {
    return std::nullopt;
  }
}

struct Trait {
  const char* name;
  void (*remove)(ModelConfig&);
};

// What keeps a shape from having a class.
constexpr Trait kTraits[] = {
    {"no gate in its feed-forward", [](ModelConfig& c) { c.gated = true; }},
    {"these biases",
     [](ModelConfig& c) { c.qkv_bias = c.o_bias = c.mlp_bias = false; }},
    {"norms of q and k", [](ModelConfig& c) { c.qk_norm = QkNorm::kNone; }},
    {"norms behind attention and feed-forward",
     [](ModelConfig& c) {
       c.norm_placement = NormPlacement::kPre;
       c.qk_norm = QkNorm::kNone;
     }},
    {"a multiplier of its logits",
     [](ModelConfig& c) { c.logit_multiplier = 1; }},
    {"a shared expert",
     [](ModelConfig& c) { c.shared_expert_intermediate_size = 0; }},
    {"selection biases", [](ModelConfig& c) { c.selection_bias = false; }},
};

// The first trait without which there is a class.
std::string reason_of(const ModelConfig& child) {
  for (const Trait& trait : kTraits) {
    ModelConfig without = child;
    trait.remove(without);
    if (without != child && has_class(without)) return trait.name;
  }
  return "this shape";
}

struct Remedy {
  const char* option;
  void (*apply)(GrowthStep&);
};

constexpr Remedy kRemedies[] = {
    {"--shared-expert",
     [](GrowthStep& step) {
       if (step.upcycle) step.upcycle->shared_expert = true;
     }},
    {"--head untie",
     [](GrowthStep& step) {
       if (step.widen) step.widen->head = WidenHead::kUntie;
     }},
};

std::string remedy_of(const ModelConfig& parent,
                      const std::vector<GrowthStep>& steps) {
  for (const Remedy& remedy : kRemedies) {
    std::vector<GrowthStep> changed = steps;
    for (GrowthStep& step : changed) remedy.apply(step);
    const std::optional<ModelConfig> child = shape_after(parent, changed);
    if (child && has_class(*child)) {
      return fmt::format("; {} makes a {}, which transformers reads",
                         remedy.option, model_type(*child));
    }
  }
  return "";
}

}  // namespace

std::string class_notice(const ModelConfig& parent, const GrowPlan& growth) {
  const std::vector<GrowthStep> steps = steps_of(growth);
  const std::optional<ModelConfig> child = shape_after(parent, steps);
  if (!child || !has_class(parent) || has_class(*child)) return "";
  return fmt::format(
      "transformers has no class for a {} with {}; the child is written as {}, "
      "which only annuli reads{}",
      child->is_mixture() ? "mixture" : "dense model", reason_of(*child),
      model_type(*child), remedy_of(parent, steps));
}

std::vector<std::string> class_notices(const Plan& plan) {
  std::vector<std::string> lines;
  if (plan.model.from.empty()) return lines;
  std::optional<ModelConfig> config = first_config(plan.model);
  for (const PhasePlan& phase : plan.phases) {
    if (!phase.grow || !config) continue;
    if (std::string line = class_notice(*config, *phase.grow); !line.empty()) {
      lines.push_back(
          fmt::format("growing {}: {}", phase.name, std::move(line)));
    }
    config = shape_after(*std::move(config), steps_of(*phase.grow));
  }
  return lines;
}

}  // namespace annuli

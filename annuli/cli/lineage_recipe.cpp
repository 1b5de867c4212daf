#include "annuli/cli/lineage_recipe.h"

#include <string_view>
#include <vector>

#include "annuli/config/field.h"
#include "annuli/core/error.h"
#include "annuli/grow/registry.h"

namespace annuli::cli {
namespace {

template <typename Enum>
Enum value_of(const Json& word) {
  const auto text = word.get<std::string>();
  for (size_t i = 0; i < EnumWords<Enum>::kWords.size(); ++i) {
    if (EnumWords<Enum>::kWords[i] == text) return static_cast<Enum>(i);
  }
  user_error("found '{}', expected one of {}", text, words_of<Enum>());
}

UpcyclePlan upcycle_from(const Json& arguments) {
  return {.num_experts = arguments.at("num_experts"),
          .num_experts_per_tok = arguments.at("num_experts_per_tok"),
          .router = value_of<RouterInit>(arguments.at("router")),
          .router_std = arguments.at("router_std")};
}

WidenPlan widen_from(const Json& arguments) {
  WidenPlan plan{.factor = arguments.at("factor"),
                 .noise_snr_db = std::nullopt,
                 .head = value_of<WidenHead>(arguments.at("head"))};
  if (arguments.contains("noise_snr_db")) {
    plan.noise_snr_db = arguments.at("noise_snr_db").get<double>();
  }
  return plan;
}

DeepenPlan deepen_from(const Json& arguments) {
  DeepenPlan plan;
  plan.outputs = value_of<DeepenOutputs>(arguments.at("outputs"));
  if (arguments.contains("layer_map")) {
    plan.layer_map = arguments.at("layer_map").get<std::vector<int64_t>>();
    return plan;
  }
  plan.preset = value_of<DeepenPreset>(arguments.at("preset"));
  plan.add_layers = arguments.at("add_layers");
  return plan;
}

GrowPlan plan_of(const LineageRecord& record) {
  GrowPlan plan;
  if (record.op == "upcycle") plan.upcycle = upcycle_from(record.arguments);
  if (record.op == "widen") plan.widen = widen_from(record.arguments);
  if (record.op == "deepen") plan.deepen = deepen_from(record.arguments);
  return plan;
}

}  // namespace

bool is_growth(const LineageRecord& record) {
  for (const grow::RegistryEntry& entry : grow::registry()) {
    if (record.op == entry.name) return true;
  }
  return false;
}

grow::Recipe recipe_of(const LineageRecord& record, const ModelConfig& parent,
                       const std::string& where) {
  ANNULI_CHECK(is_growth(record), "{}", record.op);
  try {
    return grow::make_operator(plan_of(record))->recipe(parent, record.seed);
  } catch (const UserError& error) {
    user_error("reading the lineage of {}: {}: {}", where, record.op,
               error.what());
  } catch (const Json::exception&) {
    user_error("reading the lineage of {}: {} has the arguments {}", where,
               record.op, record.arguments.dump());
  }
}

}  // namespace annuli::cli

#include "annuli/run/run_names.h"

#include <fstream>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/data/text_paths.h"

namespace annuli::run {
namespace {

void add_growth(const GrowPlan& grow, InputPaths& inputs) {
  const GrowthStep& first = grow.chain.empty() ? grow : grow.chain.front();
  if (!first.merge_experts) return;
  for (const std::string& model : first.merge_experts->with) {
    inputs.add("merge_experts.with", model);
  }
}

// The phase that the first line of a history is of; "" if it is none.
std::string first_phase(const fs::path& history) {
  std::ifstream file(history);
  std::string line;
  if (!std::getline(file, line) || is_too_deep(line)) return "";
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("type") || !json.contains("phase") ||
      !json["phase"].is_string()) {
    return "";
  }
  return json["phase"];
}

}  // namespace

std::set<std::string> names_of(const Plan& plan) {
  std::set<std::string> names = {"plan.yaml", "training_history.jsonl",
                                 "sessions.jsonl", "lineage.json",
                                 "summary.json"};
  for (const PhasePlan& phase : plan.phases) {
    names.insert("checkpoints/" + phase.checkpoint);
    if (!phase.init_checkpoint.empty()) {
      names.insert("checkpoints/" + phase.init_checkpoint);
    }
    if (phase.grow || phase.train.freeze) {
      names.insert("verify/" + phase.name + ".json");
    }
    if (!plan.samples.prompts.empty()) {
      names.insert("samples/" + phase.name + ".txt");
    }
  }
  return names;
}

std::set<std::string> names_of_earlier_run(const fs::path& folder) {
  const std::string phase = first_phase(folder / "training_history.jsonl");
  if (phase.empty()) return {};
  try {
    const Plan plan = load_plan(folder / "plan.yaml");
    if (plan.phases.front().name != phase) return {};
    return names_of(plan);
  } catch (const UserError&) {
    return {};
  }
}

InputPaths inputs_of(const Plan& plan, const fs::path& plan_file) {
  InputPaths inputs;
  inputs.add("the plan", plan_file);
  inputs.add("model.from", plan.model.from);
  if (plan.tokenizer != "bytes") inputs.add("tokenizer", plan.tokenizer);
  inputs.add("data.tokens", plan.data.tokens);
  inputs.add("data.cache_dir", plan.data.cache_dir);
  if (plan.data.tokens.empty()) {
    data::add_text(inputs, "data.text", plan.data.text);
  }
  for (const TextSource& source : plan.data.mixture) {
    data::add_text(inputs, "data.mixture", source.text);
  }
  for (const PhasePlan& phase : plan.phases) {
    if (phase.grow) add_growth(*phase.grow, inputs);
  }
  return inputs;
}

}  // namespace annuli::run

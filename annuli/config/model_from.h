#pragma once

#include <optional>

#include "annuli/config/plan.h"
#include "annuli/config/yaml_tree.h"

// `model: {from: DIR}`: a plan that starts from a model on disk.
namespace annuli {

// Fills the model's fields from the folder's config.json, so that they can be
// seen and compared, and the tokenizer with the folder if the plan names none
// and the folder, or the GGUF file, has one. A field that the plan gives must
// agree. A .pt or GGUF file is left for the run to open. Throws UserError.
void follow_model_from(Plan& plan, const YamlTree& tree);

// What the first phase starts from; nothing if only the run can tell (a file).
// With `from`, all of the folder's config, also what no plan can say.
std::optional<ModelConfig> first_config(const ModelPlan& model);

}  // namespace annuli

#pragma once

#include <string>

#include "annuli/core/json.h"

// What a config.json leaves to its class.
namespace annuli {

// Every attribute of the class as we understand it, defaults filled in, under
// the names and in the form that transformers 5 gives them: `rope_parameters`
// as one object, `layer_types` as a list, `sliding_window` as it is in use.
// What the file says beside these is not in it. UserError as
// `model_config_from_json`.
Json resolved_config(const Json& config);

// "; not stated by config.json, and taken from a llama: hidden_size 4096", of
// the sizes of tensors, to be added to a complaint about them; "" where all of
// them are stated.
std::string left_to_the_class(const Json& config);

}  // namespace annuli

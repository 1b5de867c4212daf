#pragma once

#include <string>
#include <string_view>

#include "annuli/core/json.h"

namespace annuli {

// UserError if a model's config says that its weights are quantised, with what
// to do about it.
void refuse_quantization(const Json& config);

// "the weights are quantised (WHY), expected ...; ...": the same where it is
// the weights that tell. `method` as in quantization_config, or "".
std::string quantized(std::string_view why, std::string_view method = "");

}  // namespace annuli

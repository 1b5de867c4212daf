#pragma once

#include "annuli/core/file.h"
#include "annuli/core/json.h"

// What `annuli inspect A B` says of two models.
namespace annuli::cli {

Json compare_paths(const fs::path& first, const fs::path& second);

// One line for tensors of which the same is true in many layers and experts,
// their numbers written as *; each by itself where `each`.
void print_comparison(const Json& comparison, bool each);

}  // namespace annuli::cli

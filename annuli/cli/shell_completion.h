#pragma once

#include <string>

#include "annuli/core/json.h"

// Scripts by which a shell completes verbs, flags and the words that a flag's
// value may be; `commands` is what command_list gives. Where none of them is
// expected, the shell offers files.
namespace annuli::cli {

std::string bash_completion(const Json& commands);
std::string zsh_completion(const Json& commands);

}  // namespace annuli::cli

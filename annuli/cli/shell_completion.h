#pragma once

#include <string>

#include "annuli/cli/command_tree.h"

// Scripts by which a shell completes verbs, flags and the words that a flag's
// value may be. Where none of them is expected, the shell offers files.
namespace annuli::cli {

std::string bash_completion(const Command& program);
std::string zsh_completion(const Command& program);

}  // namespace annuli::cli

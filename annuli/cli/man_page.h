#pragma once

#include <string>

#include "annuli/cli/command_tree.h"

namespace annuli::cli {

// The program's page of the manual, section 1, in roff with the `man` macros:
// every verb and operator with its options and examples.
std::string man_page(const Command& program, const std::string& version);

}  // namespace annuli::cli

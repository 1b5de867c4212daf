#pragma once

#include <string>

#include "annuli/core/json.h"

namespace annuli::cli {

// The program's page of the manual, section 1, in roff with the `man` macros:
// every verb and operator with its options and examples. `commands` is what
// command_list gives.
std::string man_page(const Json& commands);

}  // namespace annuli::cli

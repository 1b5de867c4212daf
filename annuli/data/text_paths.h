#pragma once

#include <string>
#include <vector>

#include "annuli/core/input_paths.h"

namespace annuli::data {

// Adds what such inputs name and every file that would be read of them
// (text_files.h). UserError if they name nothing.
void add_text(InputPaths& paths, const std::string& what,
              const std::vector<std::string>& inputs);

}  // namespace annuli::data

#pragma once

#include <set>
#include <string>

#include "annuli/core/file.h"

namespace annuli {

// The files of a model folder that this program certainly wrote, although no
// manifest says so, as of folders of version 0.1.0: none unless the lineage
// beside them ends with the very weights that lie there, which are read for it.
// Then the weights, their index, the config, the optimizer's state, the lineage
// and our card. What was copied from a parent is not among them.
std::set<std::string> earlier_output(const fs::path& folder);

}  // namespace annuli

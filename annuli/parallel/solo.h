#pragma once

#include "annuli/parallel/process_group.h"

namespace annuli::parallel {

// The group of one process: what it gathers is its own. One object serves all
// who work alone, for it has no state.
ProcessGroup& solo();

}  // namespace annuli::parallel

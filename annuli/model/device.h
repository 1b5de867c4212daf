#pragma once

#include <c10/core/Device.h>

#include "annuli/config/plan.h"

namespace annuli {

// auto: the first GPU where there is one, else the CPU. Throws UserError for a
// GPU that is asked for and not there.
at::Device choose_device(DeviceChoice choice);

}  // namespace annuli

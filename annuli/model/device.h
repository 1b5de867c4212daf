#pragma once

#include <c10/core/Device.h>

#include "annuli/config/plan.h"

namespace annuli {

// auto: the first GPU where there is one, else the CPU. Throws UserError for a
// GPU that is asked for and not there.
at::Device choose_device(DeviceChoice choice);

// Throws UserError for a plan that needs what the device cannot compute.
void require_runnable(const Plan& plan, at::Device device);

}  // namespace annuli

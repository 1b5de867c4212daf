#pragma once

#include "annuli/config/plan.h"
#include "annuli/model/tensor_table.h"

namespace annuli {

// What a tensor does, in the words of plans. The table of a tied head is the
// embedding's; the gate of a shared expert, which chooses too, is a router, and
// so is the selection bias of one.
TensorPart tensor_part(Part part);
inline TensorPart tensor_part(const TensorSpec& spec) {
  return tensor_part(spec.part);
}

}  // namespace annuli

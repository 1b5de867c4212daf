#pragma once

#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/model/tensor_table.h"

namespace annuli::grow {

// Whether a tensor is a matrix of one of the groups; gains and biases never
// are. Found from its axes, not from its name.
bool is_of_groups(const TensorSpec& spec,
                  const std::vector<MatrixGroup>& groups);

}  // namespace annuli::grow

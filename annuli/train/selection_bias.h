#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "annuli/model/transformer.h"

namespace annuli::train {

// Loss-free balancing (Wang et al., 2408.15664; DeepSeek-V3,
// 2412.19437, 2.1.2): after an update each expert's selection bias moves by one
// step,
//
//   b_e += rate * sign(mean load - load_e),
//
// with `load` [L][E] the slots of the whole step. Loads are whole numbers, and
// are compared as such, sum against E load_e: the same everywhere. One that is
// the mean stays. The step is added in the type of the biases, whatever the
// weights are stored in.
//
// Where several processes hold the model, in parts or not, each calls this and
// moves its own copy. `holds`: whether a row's biases are to be moved.
void move_selection_biases(Transformer& model,
                           const std::vector<std::vector<int64_t>>& load,
                           double rate,
                           const std::function<bool(size_t row)>& holds);

}  // namespace annuli::train

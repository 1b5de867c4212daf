#pragma once

#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/model/transformer.h"

// How a training state holds weights that are codes of 8 bits
// (model/coded_weights.h): a tensor's codes under its own name and the
// exponents of its blocks under "<name>.exponents", both as U8, two's
// complement. Other weights stand as they are.
namespace annuli {

// A model's weights so, none copied, in the order of its table.
std::vector<NamedTensor> coded_tensors(const Transformer& model);

// Whether some of a state's weights are codes.
bool has_codes(const std::vector<NamedTensor>& weights);

// Sets the row to a state's tensor of its name, and removes that from the list.
// The model holds codes where the state does. False if there is no such tensor.
bool take_saved_weight(Transformer& model, size_t row,
                       std::vector<NamedTensor>& weights);

// A state's weights with codes widened to bf16.
std::vector<NamedTensor> widened_codes(std::vector<NamedTensor> weights);

}  // namespace annuli

#pragma once

#include <string>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"

namespace annuli {

class Transformer;

// The identity of a list of tensors: SHA-256 over the SHA-256 of each, in
// order; a tensor's covers its name, element type, shape and bytes. It depends
// on nothing else: not on the file, the format, the device, or on where in
// memory tensors lie. Tensors are hashed in parallel.
std::string content_hash(const std::vector<NamedTensor>& tensors);

// Of a model: its weights, in the order of its tensor table. The config is not
// part of it, but it decides names and shapes.
std::string content_hash(const Transformer& model);

// The weights of a model as (name, tensor), in the order of its table.
std::vector<NamedTensor> named_weights(const Transformer& model);

}  // namespace annuli

#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "annuli/checkpoint/model_file.h"
#include "annuli/model/transformer.h"

// Loading a model for generation: with weights of the type that shall be read
// per token, laid out as the decoder reads them (decode_weights.h).
namespace annuli {

struct StoredModelOptions {
  // What the weights are read as. fp32 and bf16 are both computed with in fp32;
  // fp64 is computed in itself. By default what the file holds: fp64 if
  // anything in it is, F16 as fp32.
  std::optional<at::ScalarType> dtype;
  // Hold the layers' matrices as codes (model/coded_weights.h), the nearest
  // ones; `dtype` is bf16.
  bool coded = false;
  at::Device device = at::kCPU;
  // Copy everything into memory now. Otherwise tensors that are as they shall
  // be stay in the file and are read when they are used first: at once there,
  // slower for the first tokens.
  bool in_memory = false;
};

// UserError with one line that names the first faulty tensor.
Transformer load_stored_model(const ModelFile& file,
                              const StoredModelOptions& options = {});

}  // namespace annuli

#pragma once

#include <functional>

#include "annuli/core/gguf_writer.h"
#include "annuli/gguf/architecture.h"
#include "annuli/gguf/source_model.h"

namespace annuli::gguf {

// Adds the model's tensors under llama.cpp's names, in its order of rows and
// dimensions (tensor_names.h). Gains, biases and routers are fp32, everything
// else `type`, or fp16 where rows do not fill blocks of q8_0. The model is
// borrowed until the file is written; a matrix at a time is in memory.
void add_tensors(const SourceModel& model, const Architecture& architecture,
                 Type type, Writer& writer);

}  // namespace annuli::gguf

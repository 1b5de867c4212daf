#pragma once

#include <functional>

#include "annuli/checkpoint/model_file.h"
#include "annuli/gguf/architecture.h"
#include "annuli/gguf/gguf_writer.h"

namespace annuli::gguf {

// Adds the model's tensors under llama.cpp's names, in its order of rows and
// dimensions: the experts of a layer as one tensor [E, F, D]; q and k of
// families whose positions turn neighbours with the halves of each head put
// together entry by entry; a fused q, k, v [H, 3, head_dim] as [3, H,
// head_dim]. Gains, biases and routers are fp32, everything else `type`, or
// fp16 where rows do not fill blocks of q8_0. The model is borrowed until the
// file is written; a matrix at a time is in memory.
void add_tensors(const ModelFile& model, const Architecture& architecture,
                 Type type, Writer& writer);

}  // namespace annuli::gguf

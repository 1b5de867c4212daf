#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

#include "annuli/generate/decode_step.h"
#include "annuli/model/kv_cache.h"
#include "annuli/model/transformer.h"

// Reading prompts and stepping through text, one token of each of several
// sequences at a time.
//
// A model that computes in fp32 on the CPU, its matrices stored in fp32 or
// bf16, is run by decoding::DecodeStep: as fast as its weights can be read. Any
// other (fp64, a GPU, f16 weights) goes through Transformer, one sequence after
// the other.
//
// Guarantees: what a sequence gets depends on its own tokens alone, bit for
// bit. Prompts are therefore not padded to each other and need no masks: each
// is read by itself, at its own positions.
//
// State: none that a result depends on. The model must outlive the decoder, and
// its weights stay as they are.
namespace annuli {

class Decoder {
 public:
  explicit Decoder(const Transformer& model);

  // Reads tokens whose logits nobody asks for. Long prompts go through the
  // matrix library, as a block.
  void read(KvCache& cache, std::span<const int32_t> ids);

  // Reads one token of each sequence; the logits of their successors, [M, V].
  at::Tensor step(std::span<KvCache* const> caches,
                  std::span<const int32_t> ids);

 private:
  const Transformer& model_;
  std::unique_ptr<decoding::DecodeStep> fast_;  // if the model is readable
};

}  // namespace annuli

#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "annuli/generate/row_ops.h"
#include "annuli/model/transformer.h"

// The forward pass of a few tokens through caches, made for speed: forward.h on
// plain memory and own kernels (row_ops.h) instead of operators on tensors, and
// only the chosen experts' weights are read. It agrees with Transformer to
// rounding.
//
// Guarantees: a row's result depends on its token and on its cache alone, bit
// for bit, not on the rows beside it and not on the number of threads.
//
// State: that of its operations. The model's weights must stay as they are.
namespace annuli::decoding {

class DecodeStep {
 public:
  // `model` must be readable (decode_weights.h).
  explicit DecodeStep(const Transformer& model)
      : config_(model.config()), ops_(model) {}
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  // Reads the tokens into their caches.
  void read(std::span<const Row> rows) { stream(rows); }
  // The same; and the logits of each one's successor, [M, V].
  at::Tensor logits(std::span<const Row> rows);

 private:
  RowOps::Value stream(std::span<const Row> rows);

  const ModelConfig config_;
  RowOps ops_;
};

}  // namespace annuli::decoding

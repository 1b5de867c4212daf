#pragma once

#include "annuli/model/lent_weights.h"
#include "annuli/model/row_stages.h"

// Weights that are held as codes of 8 bits (kernels/quantize/weight_codes.h):
// the matrices of the layers, but routers. Embedding, head, routers, gains and
// biases are bf16.
//
// A layer's matrices are widened, to bf16, before its block's pass and dropped
// after; those of the last layer stay from its forward to its backward pass. So
// those of one layer are here at most. Widening rounds nothing: a pass has the
// bits of the same model in bf16.
//
// State: which layer's weights are kept. A model and its copies, whose tensors
// they share, share one of these.
namespace annuli {

class CodedWeights : public LentWeights {
 public:
  explicit CodedWeights(const TensorTable& table) : stages_(table) {}

  void fetch(const Transformer& model, int64_t layer,
             int64_t next) const override;
  void drop(const Transformer& model, int64_t layer) const override;
  void keep(int64_t layer) const override { kept_ = layer; }
  void begin_pass(const Transformer& model) const override;

 private:
  RowStages stages_;
  mutable int64_t kept_ = -1;  // none
};

}  // namespace annuli

#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/model/transformer.h"

// The last step of a forward pass, final norm and head, some rows of the head
// at a time, and the loss from parts of the logits.
namespace annuli::verify {

class VocabularyPass {
 public:
  // x: [W, T, D], the residual stream after the last layer, in the arithmetic
  // that is wanted. targets: [W, T] int64. `model` is borrowed.
  VocabularyPass(const Transformer& model, const at::Tensor& x,
                 at::Tensor targets);

  // Logits [W, T, count] of the tokens from `begin` on, counted in the loss.
  at::Tensor logits(int64_t begin, int64_t count);

  // -log softmax(logits)[target], nats, of what was asked for, [W, T] fp64; and
  // its mean.
  at::Tensor losses() const;
  double loss() const;

 private:
  void count_loss(const at::Tensor& logits, int64_t begin);

  const Transformer& model_;
  at::Tensor hidden_;      // [W, T, D], normed
  at::Tensor targets_;     // [W, T]
  at::Tensor log_sum_;     // [W, T] fp64: log of the sum of exp so far
  at::Tensor of_targets_;  // [W, T] fp64: the targets' logits
};

// Rows of the head in a part: as many as make some megabytes of weights and of
// logits.
int64_t vocabulary_part(int64_t hidden_size, int64_t tokens);

}  // namespace annuli::verify

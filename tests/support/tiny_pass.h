#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/model/transformer.h"
#include "tests/support/tiny_model.h"

// One forward and backward pass of a tiny model, over the same two windows
// whenever it is made: what it gives can be compared entry by entry.
namespace annuli::tiny {

struct Outcome {
  Loss loss;
  std::vector<at::Tensor> gradients;  // by row; undefined where none was given
};

inline Outcome run(Transformer& model, const LossOptions& options) {
  const at::Tensor input = tokens(2, 9, model.config().vocab_size);
  const at::Tensor targets = tokens(2, 9, model.config().vocab_size, 8);
  GradientScope scope(model);
  Outcome outcome{model.loss(input, targets, options), {}};
  outcome.gradients.resize(model.table().size());
  model.backward(outcome.loss.total, [&](size_t row, const at::Tensor& given) {
    outcome.gradients[row] = given;
  });
  return outcome;
}

}  // namespace annuli::tiny

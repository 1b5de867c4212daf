#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/config/plan.h"
#include "annuli/model/transformer.h"
#include "annuli/optim/tensor_state.h"

namespace annuli::run {

// What a run begins with, before its first step.
struct FirstState {
  Transformer model;
  std::vector<optim::TensorState> optimizer;  // one per row of the table
  Lineage lineage;
};

// A fresh model of the plan's shape; or, with `model: {from: ...}`, the model
// there in the plan's precision, its lineage, and its optimizer's state if it
// has one that the plan's can go on with (AdamW's in any number of bits).
// UserError if the tokenizer has ids that the model lacks.
FirstState first_state(const Plan& plan, int64_t tokenizer_vocab_size,
                       at::Device device);

}  // namespace annuli::run

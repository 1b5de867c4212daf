#pragma once

#include <c10/core/ScalarType.h>

#include "annuli/model/tensor_part.h"
#include "annuli/model/tensor_table.h"

namespace annuli {

// What a row is stored in, in a model whose weights are of type `weights`: that
// type. But for selection biases, which move in steps that bf16 would lose:
// fp32, or fp64 beside weights of it, in memory and in every file.
inline at::ScalarType stored_type(const TensorSpec& spec,
                                  at::ScalarType weights) {
  if (is_trained(spec.part)) return weights;
  return weights == at::kDouble ? at::kDouble : at::kFloat;
}

// Whether a model whose numbers are coded holds the row as codes: a matrix of a
// layer, but what chooses experts.
inline bool is_coded(const TensorSpec& spec) {
  return spec.layer >= 0 && spec.is_matrix() &&
         tensor_part(spec) != TensorPart::kRouter;
}

}  // namespace annuli

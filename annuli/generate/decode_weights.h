#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/kernels/gemv.h"
#include "annuli/model/forward_ops.h"
#include "annuli/model/transformer.h"

// A model's weights as decoding reads them: matrices where they are, in fp32,
// bf16 or codes of 8 bits (those that lie awkwardly are widened); gains and
// biases, which are small, as fp32. They are found by part, layer and expert,
// as in the tensor table. Holds references to the tensors, so the memory stays;
// whoever changes a weight makes this anew.
namespace annuli::decoding {

struct Linear {
  kernels::RowMatrix matrix;
  const float* bias = nullptr;  // null where there is none
};

// `count` rows of x, `x_stride` apart, through a linear layer.
inline kernels::Product product(const Linear& linear, const float* x,
                                int64_t x_stride, int64_t count, float* y) {
  return {.weight = linear.matrix,
          .bias = linear.bias,
          .x = x,
          .x_stride = x_stride,
          .M = count,
          .y = y,
          .y_stride = linear.matrix.rows};
}

class Weights {
 public:
  // `model` must be readable.
  explicit Weights(const Transformer& model);

  // A gain or a bias, a selection bias too; null where the table has none.
  const float* vector(Part part, int64_t layer, int64_t expert = -1) const;
  kernels::RowMatrix matrix(Part part, int64_t layer,
                            int64_t expert = -1) const;
  Linear linear(LinearParts parts, int64_t layer, int64_t expert = -1) const {
    return {.matrix = matrix(parts.matrix, layer, expert),
            .bias = vector(parts.bias, layer, expert)};
  }
  const at::Tensor& embedding() const;  // [V, D], fp32 or bf16

 private:
  PartIndex index_;
  // A row of the table each.
  std::vector<at::Tensor> tensors_;
  std::vector<at::Tensor> exponents_;         // of those that are codes
  std::vector<kernels::RowMatrix> matrices_;  // undefined for gains and biases
};

// Whether every matrix is one that kernels::multiply reads, on CPU, of a model
// that computes in fp32.
bool readable(const Transformer& model);

}  // namespace annuli::decoding

#include "annuli/kernels/layer_products.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

namespace annuli::kernels {
namespace {

// Sums are in the operands' type, or fp32 where that is bf16.
at::Tensor sums(int64_t rows, int64_t columns, const at::Tensor& factor) {
  const at::ScalarType type = factor.scalar_type();
  return at::empty(
      {rows, columns},
      factor.options().dtype(type == at::kBFloat16 ? at::kFloat : type));
}

}  // namespace

at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).contiguous();
}

at::Tensor layer_output(const at::Tensor& x, const Matrix& matrix,
                        const at::Tensor& bias) {
  at::Tensor y = sums(x.size(0), matrix.weight.size(0), x);
  multiply(y, x, matrix.operand().t());
  if (bias.defined()) y.add_(bias.detach());
  return y;
}

void add_input_gradient(at::Tensor& dx, const at::Tensor& dy,
                        const Matrix& matrix) {
  const bool first = !dx.defined();
  if (first) dx = sums(dy.size(0), matrix.weight.size(1), dy);
  multiply(dx, dy, matrix.operand(), /*accumulate=*/!first);
}

at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x) {
  at::Tensor gradient = sums(dy.size(1), x.size(1), dy);
  multiply(gradient, dy.t(), x);
  return gradient;
}

void save(torch::autograd::variable_list& saved, const Matrix& matrix) {
  saved.push_back(matrix.weight);
  saved.push_back(matrix.copy);
}

Matrix saved_matrix(const torch::autograd::variable_list& saved, size_t index,
                    bool rounded) {
  return {saved[index], rounded, saved[index + 1]};
}

}  // namespace annuli::kernels

#include "annuli/model/projection.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "annuli/kernels/bf16_product.h"

namespace annuli {
namespace {

// Entries of a weight that are widened at once: 64 MiB in fp64.
constexpr int64_t kEntries = int64_t{1} << 23;

at::Tensor rows_of(const at::Tensor& x, int64_t begin, int64_t count) {
  return x.defined() ? x.narrow(0, begin, count) : x;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Widen : torch::autograd::Function<Widen> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& stored,
                            at::ScalarType type) {
    return stored.to(type);
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    return {grads[0], at::Tensor()};
  }
};

}  // namespace

at::Tensor widened(const at::Tensor& stored, at::ScalarType type) {
  return stored.scalar_type() == type ? stored : Widen::apply(stored, type);
}

at::Tensor project(const at::Tensor& x, const Matrix& matrix,
                   const at::Tensor& bias) {
  const at::Tensor& weight = matrix.weight;
  if (matrix.operand.defined()) {
    return kernels::bf16_linear(x, weight, matrix.operand, bias);
  }
  const at::ScalarType arithmetic = x.scalar_type();
  if (weight.scalar_type() == arithmetic) return at::linear(x, weight, bias);
  const int64_t out = weight.size(0);
  const int64_t rows = std::max<int64_t>(1, kEntries / weight.size(1));
  const at::Tensor wide_bias =
      bias.defined() ? widened(bias, arithmetic) : bias;
  std::vector<at::Tensor> pieces;
  if (weight.requires_grad()) {
    return at::linear(x, widened(weight, arithmetic), wide_bias);
  }
  for (int64_t begin = 0; begin < out; begin += rows) {
    const int64_t count = std::min(rows, out - begin);
    pieces.push_back(at::linear(x,
                                weight.narrow(0, begin, count).to(arithmetic),
                                rows_of(wide_bias, begin, count)));
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, /*dim=*/-1);
}

}  // namespace annuli

#include "annuli/model/projection.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

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

bool is_multiplied_as_stored(const at::Tensor& x,
                             const kernels::Matrix& matrix) {
  return matrix.rounded || (matrix.weight.is_contiguous() &&
                            matrix.weight.scalar_type() == x.scalar_type());
}

std::vector<at::Tensor> project_all(
    const at::Tensor& x, const std::vector<kernels::LinearLayer>& layers) {
  if (is_multiplied_as_stored(x, layers[0].matrix)) {
    return kernels::linear(x, layers);
  }
  std::vector<at::Tensor> outputs;
  for (const kernels::LinearLayer& layer : layers) {
    outputs.push_back(project(x, layer.matrix, layer.bias));
  }
  return outputs;
}

at::Tensor project(const at::Tensor& x, const kernels::Matrix& matrix,
                   const at::Tensor& bias) {
  if (is_multiplied_as_stored(x, matrix)) {
    return kernels::linear(x, {{matrix, bias}})[0];
  }
  const at::Tensor& weight = matrix.weight;
  const at::ScalarType arithmetic = x.scalar_type();
  const int64_t out = weight.size(0);
  const int64_t rows = std::max<int64_t>(1, kEntries / weight.size(1));
  const at::Tensor wide_bias =
      bias.defined() ? widened(bias, arithmetic) : bias;
  if (weight.requires_grad() || weight.scalar_type() == arithmetic) {
    return at::linear(x, widened(weight, arithmetic), wide_bias);
  }
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < out; begin += rows) {
    const int64_t count = std::min(rows, out - begin);
    pieces.push_back(at::linear(x,
                                weight.narrow(0, begin, count).to(arithmetic),
                                rows_of(wide_bias, begin, count)));
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, /*dim=*/-1);
}

}  // namespace annuli

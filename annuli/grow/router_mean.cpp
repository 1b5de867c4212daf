#include "annuli/grow/router_mean.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_qr.h>

#include <algorithm>

#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/model/transformer.h"

namespace annuli::grow {
namespace {

constexpr int64_t kDirections = 4;

at::Tensor orthonormal(const at::Tensor& columns) {
  return std::get<0>(at::linalg_qr(columns));
}

// By subspace iteration: the directions need not be exact, only the variance
// along them gone. x: [N, D], with a mean of 0.
at::Tensor widest(const at::Tensor& x, int64_t count) {
  constexpr int kIterations = 12;
  at::Tensor start = at::empty({x.size(1), count}, at::kDouble);
  kernels::fill_normal(start, CounterRng(0, "grow/router_directions"), 1);
  at::Tensor found = orthonormal(start);
  for (int i = 0; i < kIterations; ++i) {
    found = orthonormal(x.t().matmul(x.matmul(found)));
  }
  return found;  // [D, count]
}

at::Tensor directions_of(const at::Tensor& inputs) {
  const at::Tensor x = inputs.to(at::kCPU, at::kDouble);
  const at::Tensor mean = x.mean(0);
  const int64_t count = std::min({kDirections, x.size(0) - 1, x.size(1) - 2});
  if (count < 1) return mean.unsqueeze(0) / mean.norm();
  const at::Tensor columns =
      at::cat({mean.unsqueeze(1), widest(x - mean, count)}, 1);
  return orthonormal(columns).t().contiguous();
}

}  // namespace

std::vector<at::Tensor> router_directions(const ModelFile& file,
                                          const at::Tensor& tokens) {
  const Transformer model = load_model(file, {.as_stored = true});
  at::Tensor x = model.embed(tokens);
  std::vector<at::Tensor> directions;
  for (int64_t layer = 0; layer < file.config().num_hidden_layers; ++layer) {
    LayerTrace trace;
    x = model.block(x, layer, {}, &trace);
    directions.push_back(directions_of(trace.ffn_input));
    file.drop_resident();
  }
  return directions;
}

}  // namespace annuli::grow

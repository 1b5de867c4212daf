#include "annuli/model/feed_forward.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/square.h>

#include "annuli/core/error.h"

namespace annuli {
namespace {

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kRelu2:
      return at::square(at::relu(x));
  }
  ANNULI_CHECK(false, "activation {}", static_cast<int>(activation));
}

}  // namespace

at::Tensor feed_forward(const at::Tensor& x, const FeedForwardWeights& weights,
                        Activation activation) {
  const at::Tensor up = project(x, weights.up, weights.up_bias);
  const at::Tensor inner =
      weights.gate.defined()
          ? at::mul(activate(project(x, weights.gate, weights.gate_bias),
                             activation),
                    up)
          : activate(up, activation);
  return project(inner, weights.down, weights.down_bias);
}

}  // namespace annuli

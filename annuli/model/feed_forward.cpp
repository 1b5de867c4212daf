#include "annuli/model/feed_forward.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>

namespace annuli {

at::Tensor feed_forward(const at::Tensor& x, const FeedForwardWeights& weights,
                        Activation activation) {
  const auto activate = [&](const at::Tensor& y) {
    return activation == Activation::kSilu ? at::silu(y) : at::gelu(y);
  };
  const at::Tensor up = at::linear(x, weights.up);
  const at::Tensor inner =
      weights.gate.defined()
          ? at::mul(activate(at::linear(x, weights.gate)), up)
          : activate(up);
  return at::linear(inner, weights.down);
}

}  // namespace annuli

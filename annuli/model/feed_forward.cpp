#include "annuli/model/feed_forward.h"

#include "annuli/core/error.h"
#include "annuli/model/projection.h"

namespace annuli {

kernels::ActivationKind activation_kind(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return kernels::ActivationKind::kGelu;
    case Activation::kSilu:
      return kernels::ActivationKind::kSilu;
    case Activation::kRelu2:
      return kernels::ActivationKind::kRelu2;
  }
  ANNULI_CHECK(false, "activation {}", static_cast<int>(activation));
}

at::Tensor feed_forward(const at::Tensor& x,
                        const kernels::FeedForward& layer) {
  if (is_multiplied_as_stored(x, layer.up.matrix)) {
    return kernels::feed_forward(x, layer);
  }
  const at::Tensor up = project(x, layer.up.matrix, layer.up.bias);
  const at::Tensor gate = layer.gate.matrix.defined()
                              ? project(x, layer.gate.matrix, layer.gate.bias)
                              : at::Tensor();
  return project(kernels::reference::activate(layer.kind, up, gate),
                 layer.down.matrix, layer.down.bias);
}

}  // namespace annuli

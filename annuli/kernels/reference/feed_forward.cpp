#include "annuli/kernels/feed_forward.h"

namespace annuli::kernels {

at::Tensor reference::feed_forward(const at::Tensor& x,
                                   const FeedForward& layer) {
  const at::Tensor up = reference::linear(x, layer.up);
  const at::Tensor gate = layer.gate.matrix.defined()
                              ? reference::linear(x, layer.gate)
                              : at::Tensor();
  return reference::linear(reference::activate(layer.kind, up, gate),
                           layer.down);
}

}  // namespace annuli::kernels

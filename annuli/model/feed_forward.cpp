#include "annuli/model/feed_forward.h"

#include "annuli/kernels/dispatch.h"
#include "annuli/model/projection.h"

namespace annuli {

namespace {

// As kernels::feed_forward has it, to the bit, where no graph is asked for.
at::Tensor activated(Activation kind, const at::Tensor& up,
                     const at::Tensor& gate) {
  if (!kernels::is_host(up) || up.requires_grad()) {
    return kernels::reference::activate(kind, up, gate);
  }
  return kernels::activate(kind, up, gate, /*rounded=*/false, /*keep=*/false)
      .out;
}

}  // namespace

at::Tensor feed_forward(const at::Tensor& x,
                        const kernels::FeedForward& layer) {
  if (is_multiplied_as_stored(x, layer.up.matrix)) {
    return kernels::feed_forward(x, layer);
  }
  const at::Tensor up = project(x, layer.up.matrix, layer.up.bias);
  const at::Tensor gate = layer.gate.matrix.defined()
                              ? project(x, layer.gate.matrix, layer.gate.bias)
                              : at::Tensor();
  return project(activated(layer.kind, up, gate), layer.down.matrix,
                 layer.down.bias);
}

}  // namespace annuli

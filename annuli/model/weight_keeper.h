#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

// Weights that are here only while their layer is computed.
//
// Where a pass is given a keeper (ForwardOptions, LossOptions), each block asks
// for its layer before it runs, and gives it up after; where gradients are
// recorded it asks once more before its backward pass, and gives up after that.
// A block that is repeated (checkpointing.h) asks before it is repeated. The
// order is the same in all passes. Weights outside the layers are not asked
// for.
namespace annuli {

class WeightKeeper {
 public:
  virtual ~WeightKeeper() = default;
  virtual void fetch(int64_t layer) = 0;
  virtual void drop(int64_t layer) = 0;
};

// x; `work` is done in the backward pass when x has its whole gradient, before
// anything that it was computed from. Where no graph is recorded, just x.
at::Tensor with_backward_work(const at::Tensor& x, std::function<void()> work);

}  // namespace annuli

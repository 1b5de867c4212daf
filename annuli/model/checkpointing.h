#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

// Activation checkpointing: of a block's forward pass only the input is kept,
// and the pass is repeated when its gradients are asked for. One block's
// activations exist at a time instead of all blocks', for one forward pass
// more.
//
// Guarantees: outputs and gradients are bit for bit those of the pass that
// keeps its activations. The weights that the block reads need not be named:
// the backward pass nested in the outer one gives each its gradient (and calls
// its hooks) when its block's turn comes, before the blocks below are repeated.
// So a weight may be updated as soon as its gradient is complete, as long as no
// other block reads it.
namespace annuli {

// x -> the block's outputs, first its y; those that no gradient can flow into
// (integers, what was detached) are told from their types. Called twice with
// equal inputs, it must do the same twice: no state, no moving random numbers.
using CheckpointedBlock =
    std::function<std::vector<at::Tensor>(const at::Tensor& x)>;

// block(x), without its graph. Where x needs no gradient, just block(x).
// What `block` refers to must outlive the backward pass.
std::vector<at::Tensor> checkpointed(const at::Tensor& x,
                                     CheckpointedBlock block);

}  // namespace annuli

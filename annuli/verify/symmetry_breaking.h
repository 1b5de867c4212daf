#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// Copies must be able to part. In a deterministic trainer without dropout a
// noise-free widened model never leaves the parent's subspace: its copies get
// equal gradients for ever. So the gradients of paired copies are measured by a
// real backward pass, beside those of a control grown without noise, and after
// the phase the learned update is measured the same way.
//
// Paired copies here are the produced ones (rows of one parent row): the inputs
// of contracted copies are equal while the function is the parent's, so those
// part later, through the rows. Where one axis alone grows no matrix is copied
// on both sides: of such a growth only the noise is measured.
namespace annuli::verify {

// What the same growth without noise measures: the reading of a model whose
// copies can never part. It shows that the check can fail.
struct SymmetryControl {
  // Largest over the grown matrices of ||G1 - G2|| / ||G1 + G2||.
  double gradient_difference = 0;
};

// Grows a second, noise-free child from the parent (whose tensors are shared,
// not consumed), runs one backward pass and lets it go again. `router_mean`:
// for recipes that need it (grow.h).
//
// Of several processes all grow the child and make the pass, here and below;
// each looks at the gradients of the tensors that it owns.
SymmetryControl symmetry_control(
    const Transformer& parent, const grow::Recipe& recipe, const Probe& probe,
    parallel::ProcessGroup& group = parallel::solo(),
    const std::vector<at::Tensor>& router_mean = {});

// The noise that the weights hold, against the asked: of every tensor, read
// once, some megabytes at a time. No forward pass.
Verdict realised_noise(const grow::Recipe& recipe, const Transformer& child,
                       parallel::ProcessGroup& group = parallel::solo());

// Of a widening that was asked for without noise: a warning, as nothing is
// measured then. Empty for every other growth.
std::vector<Verdict> copies_without_noise(const grow::Recipe& recipe);

// Right after growth: realised noise, and gradients of paired copies.
std::vector<Verdict> symmetry_at_growth(
    const grow::Recipe& recipe, const Probe& probe,
    const SymmetryControl& control, Transformer& child,
    parallel::ProcessGroup& group = parallel::solo());

// After the phase: antisymmetric share of the update dW = W - W_at_growth, less
// what weight decay made of the noise, and its rank; of weights in bf16, whose
// stochastic rounding parts copies by itself, instead the structure of what
// parted them. W_at_growth is made again from the parent's checkpoint, tensor
// by tensor, in the type it is stored in. steps: updates since growth.
std::vector<Verdict> symmetry_after_phase(
    const grow::Recipe& recipe, const SymmetryControl& control,
    const std::function<at::Tensor(const std::string&)>& parent_tensor,
    int64_t steps, const Transformer& trained,
    parallel::ProcessGroup& group = parallel::solo());

}  // namespace annuli::verify

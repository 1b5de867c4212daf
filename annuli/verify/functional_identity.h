#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// The child computes the parent's function: logits, and the residual stream
// after every layer, against the parent's copied `width_factor` times.
//
//   upcycle  0 difference where every expert runs in the dense layer's GEMM
//            shapes (Dispatch::kFullBlock); 1e-5 relative through the dispatch
//            that trains, whose GEMMs have other row counts
//   deepen   0 with zero outputs: x + 0 is x
//   widen    1e-5 relative in fp32 arithmetic, and in fp64 arithmetic the limit
//            of double_limit below
//
// A recipe that is not exact must agree up to its first new layer; the rest is
// the boundary's budget. The first layer that differs is named.
namespace annuli::verify {

std::vector<Verdict> functional_identity(const ParentRecord& parent,
                                         const grow::Recipe& recipe,
                                         const Probe& probe,
                                         const Transformer& child);

// ||a - b|| / ||a||, Frobenius, in fp64; b has to be a's shape.
double relative_error(const at::Tensor& a, const at::Tensor& b);

}  // namespace annuli::verify

#pragma once

#include <string>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"
#include "annuli/verify/window_check.h"

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

class FunctionalIdentity : public WindowCheck {
 public:
  // `equal_shapes`: the child runs with Dispatch::kFullBlock and must agree bit
  // for bit. `recipe` is borrowed.
  FunctionalIdentity(const grow::Recipe& recipe, at::ScalarType dtype,
                     bool equal_shapes);

  void see(const WindowRecord& parent, const WindowRecord& child) override;
  std::vector<Verdict> verdicts() const override;

 private:
  double distance(const at::Tensor& a, const at::Tensor& b) const;

  const grow::Recipe& recipe_;
  std::string how_;
  double limit_;
  bool exactly_;  // largest difference, which must be 0; else relative
  double residual_ = 0;
  double logits_ = 0;
  int64_t first_layer_ = -1;  // above the limit
};

// Logits in fp64 arithmetic.
Verdict double_identity(const ParentRecord& parent, const grow::Recipe& recipe,
                        const Probe& probe, const Transformer& child);

// All of it, with forward passes of its own.
std::vector<Verdict> functional_identity(const ParentRecord& parent,
                                         const grow::Recipe& recipe,
                                         const Probe& probe,
                                         const Transformer& child);

// ||a - b|| / ||a||, Frobenius, in fp64; b has to be a's shape.
double relative_error(const at::Tensor& a, const at::Tensor& b);

}  // namespace annuli::verify

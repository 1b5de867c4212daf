#pragma once

#include <map>
#include <string>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"
#include "annuli/verify/window_check.h"

// The child computes the parent's function: logits, and the residual stream
// after every layer, against the parent's laid out by the child's residual axis
// (copies where it is tiled, zeros where it is padded).
//
//   plain upcycle  0 difference where every expert runs in the dense layer's
//                  GEMM shapes (Dispatch::kFullBlock); 1e-5 relative through
//                  the dispatch that trains, whose GEMMs have other row counts
//   deepen         0 with zero outputs: x + 0 is x
//   else           1e-5 relative in fp32 arithmetic, 1e-12 in fp64, or what
//                  storing the child's weights has rounded, if that is more
//
// A recipe that is not exact must agree where the change has not reached (see
// comparable_layers); the rest is the boundary's budget. The first layer that
// differs is named.
namespace annuli::verify {

// What the two models were compared in.
struct Precision {
  at::ScalarType arithmetic = at::kFloat;
  double storage_roundoff = 0;  // see tensor_audit.h
};

class FunctionalIdentity : public WindowCheck {
 public:
  // `equal_shapes`: the child runs with Dispatch::kFullBlock and must agree bit
  // for bit. `recipe` is borrowed.
  FunctionalIdentity(const grow::Recipe& recipe, Precision precision,
                     bool equal_shapes);

  void see(const LayerView& view) override;
  void see_logits(int64_t window, const at::Tensor& parent,
                  const at::Tensor& child) override;
  std::vector<double> seen() const override;
  void add_seen(const std::vector<double>& other) override;
  std::vector<Verdict> verdicts() const override;

 private:
  // Sums over the parts of a window's logits.
  struct Difference {
    double squared = 0;
    double size_squared = 0;
    double largest = 0;
  };
  double distance(const Difference& difference) const;
  static void add(Difference& sum, const at::Tensor& parent,
                  const at::Tensor& child);
  void differs_from(int64_t layer);

  const grow::Recipe& recipe_;
  std::string how_;
  double limit_;
  bool exactly_;  // largest difference, which must be 0; else relative
  double residual_ = 0;
  bool saw_layers_ = false;
  std::map<int64_t, Difference> logits_;  // by window
  int64_t first_layer_ = -1;              // above the limit
};

// The child's logits must agree to this, relative; see functional_identity.cpp.
double identity_limit(const grow::Recipe& recipe, Precision precision);

// Logits in fp64 arithmetic: one pass of the child, on the process that has the
// parent's.
class DoubleIdentity {
 public:
  // All are borrowed.
  DoubleIdentity(const ParentRecord& parent, const grow::Recipe& recipe,
                 const Probe& probe, const Transformer& child);

  void add_to(std::vector<Pass>& passes);
  // Once it was made, on all processes.
  Verdict verdict() const;

 private:
  const ParentRecord& parent_;
  const grow::Recipe& recipe_;
  const Probe& probe_;
  const Transformer& child_;
  std::vector<double> error_;  // where the pass was made
};

// All of it, with forward passes of its own.
std::vector<Verdict> functional_identity(const ParentRecord& parent,
                                         const grow::Recipe& recipe,
                                         const Probe& probe,
                                         const Transformer& child);

// ||a - b|| / ||a||, Frobenius, in fp64; b has to be a's shape.
double relative_error(const at::Tensor& a, const at::Tensor& b);

}  // namespace annuli::verify

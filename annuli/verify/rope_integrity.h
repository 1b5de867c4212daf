#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/functional_identity.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"
#include "annuli/verify/window_check.h"

// head_dim is kept, and q and k after norm and RoPE, per head and copy, equal
// the parent's laid out by the child's head and kv_head axes, at every
// position, in every layer that can be compared. Heads that no parent has are
// not looked at.
namespace annuli::verify {

class RopeIntegrity : public WindowCheck {
 public:
  RopeIntegrity(const grow::Recipe& recipe, Precision precision);

  void see(const LayerView& view) override;
  std::vector<Verdict> verdicts() const override;

 private:
  struct Worst {
    double error = 0;
    int64_t layer = -1;  // first above the limit
    int64_t head = -1;

    void see(const at::Tensor& errors, int64_t at_layer, double limit);
  };
  void see(Worst& worst, Axis axis, const at::Tensor& parent,
           const at::Tensor& child, int64_t layer) const;
  Verdict verdict(const Worst& worst, const char* what, Part part) const;

  const grow::Recipe& recipe_;
  double limit_;
  Worst q_;
  Worst k_;
};

// With forward passes of its own.
std::vector<Verdict> rope_integrity(const ParentRecord& parent,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    const Transformer& child);

}  // namespace annuli::verify

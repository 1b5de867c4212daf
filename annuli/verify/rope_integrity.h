#pragma once

#include <compare>
#include <cstdint>
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
  std::vector<double> seen() const override;
  void add_seen(const std::vector<double>& other) override;
  std::vector<Verdict> verdicts() const override;

 private:
  // Of the heads above the limit, the first of the first window in the first
  // layer where one is.
  struct Place {
    int64_t layer = -1;  // none
    int64_t window = -1;
    int64_t head = -1;

    auto operator<=>(const Place&) const = default;
  };
  struct Worst {
    double error = 0;
    Place first;

    void see(const at::Tensor& errors, const Place& at, double limit);
    void note(double other_error, const Place& place);
  };
  void see(Worst& worst, Axis axis, const at::Tensor& parent,
           const at::Tensor& child, const LayerView& view) const;
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

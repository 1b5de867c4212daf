#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"
#include "annuli/verify/window_check.h"

// head_dim is kept, and q and k after RoPE, per head and copy, equal the
// parent's at every position, in every mapped layer.
namespace annuli::verify {

class RopeIntegrity : public WindowCheck {
 public:
  explicit RopeIntegrity(const grow::Recipe& recipe) : recipe_(recipe) {}

  void see(const WindowRecord& parent, const WindowRecord& child) override;
  std::vector<Verdict> verdicts() const override;

 private:
  struct Worst {
    double error = 0;
    int64_t layer = -1;  // first above the limit
    int64_t head = -1;

    void see(const at::Tensor& errors, int64_t at_layer);
    Verdict verdict(const char* what, const char* projection) const;
  };

  const grow::Recipe& recipe_;
  Worst q_;
  Worst k_;
};

// With forward passes of its own.
std::vector<Verdict> rope_integrity(const ParentRecord& parent,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    const Transformer& child);

}  // namespace annuli::verify

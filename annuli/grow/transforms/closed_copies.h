#pragma once

#include "annuli/grow/transforms/transform.h"

namespace annuli::grow {

// Selection biases of experts that no token chooses at first: entries from
// `first` on are all the least of those before them, minus `gap`. Why that
// keeps them closed, and which gap does: expand_experts.h.
//
// On biases that a parent has, or on zeros where it has none (Source::kFresh).
// In a chain the latest is stated; each step closes its own. There is no state.
// The audit looks at the values alone: verify/selection_audit.h.
class ClosedCopies : public Transform {
 public:
  static constexpr const char* kName = "closed";

  ClosedCopies(int64_t first_closed, double below)
      : first(first_closed), gap(below) {}

  const int64_t first;
  const double gap;

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  bool changes_layer(const TensorRecipe& line) const override;

  static void write(const ClosedCopies* stated, Json& line);
  static TransformPtr read(const Json& line);
};

// By expert of the child: whether growth has closed it. Empty: none of them.
std::vector<bool> closed_experts(const TensorRecipe& line);

}  // namespace annuli::grow

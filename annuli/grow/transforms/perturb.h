#pragma once

#include "annuli/config/phase_plan.h"
#include "annuli/grow/operator.h"
#include "annuli/grow/transforms/transform.h"

// Perturbation: normal noise on every entry of chosen matrices,
//
//   W + s rms(W) z,   z ~ N(0, 1),
//
// the same shape, `relative_std` s. What parts copies that would otherwise stay
// equal (experts after upcycling, layers after stacking), and what a search
// over weights begins with. Preserves nothing; the change of the loss is held
// against a budget.
//
// Options: `relative_std`; `tensors`, groups of matrices. Gains and biases are
// left alone: an error of a gain is one of a whole coordinate.
//
// Axis rule: every axis as it is; a Perturb on each matrix of the groups. Its
// stream is the tensor's, so that experts that are copies part.
//
// AdamW's state is carried: the gradient is the parent's but for what the noise
// changes.
namespace annuli::grow {

class Perturb : public Transform {
 public:
  static constexpr const char* kName = "perturb";

  Perturb(double relative_std, uint64_t stream) : noise{relative_std, stream} {}

  // Against the root mean square of what the copy holds; 0 for a tensor of
  // zeros.
  const AddedNoise noise;

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  TransformPtr on_zeros(const TransformPtr& self) const override;
  // In a chain only where every step before leaves the tensor as it was in the
  // parent: the audit knows the size of the parent's alone.
  void check_after(const TensorRecipe& first) const override;
  bool changes_layer(const TensorRecipe& line) const override;
  const AddedNoise* added() const override;

  static void write(const Perturb* stated, Json& line);
  static TransformPtr read(const Json& line);
};

GrowthRule perturb_rule(const PerturbPlan& options, const ModelConfig& parent,
                        const ModelConfig& child);
using Perturbation = RuleOperator<PerturbPlan, perturb_rule>;

}  // namespace annuli::grow

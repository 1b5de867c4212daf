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
// Shrinking and perturbing (Ash and Adams, 1910.08475; of language models that
// are grown, Mallik et al., 2605.13405): every matrix, the tables too,
//
//   c W + s rms(W) z,   `shrink` c.
//
// Options: `relative_std`; `tensors`, groups of matrices. Gains and biases are
// left alone: an error of a gain is one of a whole coordinate.
//
// Axis rule: every axis as it is; a Perturb on each matrix of the groups. Its
// stream is the tensor's, so that experts that are copies part.
//
// AdamW's state is carried: the gradient is the parent's but for what the noise
// changes. After shrinking everything starts anew: no gradient is the parent's.
namespace annuli::grow {

class Perturb : public Transform {
 public:
  static constexpr const char* kName = "perturb";

  Perturb(double relative_std, uint64_t stream, double factor = 1)
      : noise{relative_std, stream}, shrink(factor) {}

  // Against the root mean square of what the copy holds before it is shrunk; 0
  // for a tensor of zeros.
  const AddedNoise noise;
  const double shrink;

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  TransformPtr on_zeros(const TransformPtr& self) const override;
  // In a chain only where every step before leaves the tensor as it was in the
  // parent, or makes whole copies of it and nothing else: the audit knows the
  // size of the parent's alone. What comes after noise on copies may not lay
  // them out once more.
  void check_after(const TensorRecipe& first) const override;
  bool changes_layer(const TensorRecipe& line) const override;
  const AddedNoise* added() const override;
  double factor() const override;

  static void write(const Perturb* stated, Json& line);
  static TransformPtr read(const Json& line);
};

GrowthRule perturb_rule(const PerturbPlan& options, const ModelConfig& parent,
                        const ModelConfig& child);
using Perturbation = RuleOperator<PerturbPlan, perturb_rule>;

GrowthRule shrink_perturb_rule(const ShrinkPerturbPlan& options,
                               const ModelConfig& parent,
                               const ModelConfig& child);
using ShrinkPerturbation = RuleOperator<ShrinkPerturbPlan, shrink_perturb_rule>;

}  // namespace annuli::grow

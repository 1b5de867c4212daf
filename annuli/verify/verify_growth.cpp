#include "annuli/verify/verify_growth.h"

#include <utility>

#include "annuli/verify/boundary_record.h"
#include "annuli/verify/config_audit.h"
#include "annuli/verify/functional_identity.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/rope_integrity.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/router_logit_scale.h"
#include "annuli/verify/tensor_audit.h"

namespace annuli::verify {
namespace {

// Which check applies to which growth. config_audit, tensor_audit,
// functional_identity, rope_integrity and boundary_record apply to all.
//
//   router_logit_scale  parent a mixture
//   symmetry_breaking   recipe with noise
//   router_health       dense parent, child a mixture; its gates alone also
//                       where another number of experts is chosen, and a
//                       warning where copies of experts do not part
void append(std::vector<Verdict>& verdicts, std::vector<Verdict>&& more) {
  for (Verdict& verdict : more) verdicts.push_back(std::move(verdict));
}

Precision precision_of(const ParentRecord& parent, const grow::Recipe& recipe,
                       const Transformer& child) {
  return {child.dtype(), storage_roundoff(parent.sketches, recipe, child)};
}

// Everything that reads the probe's windows, in one pass over them (a plain
// upcycling has a second, in equal GEMM shapes). Returns the child's loss.
double compare_windows(const GrowthEvidence& evidence, const Transformer& child,
                       std::vector<Verdict>& verdicts) {
  const auto& [parent, recipe, probe, control, loss_budget] = evidence;
  const Precision precision = precision_of(parent, recipe, child);
  if (is_plain_upcycle(recipe)) {
    FunctionalIdentity bitwise(recipe, precision, /*equal_shapes=*/true);
    run_window_checks(parent, recipe, probe, child, Dispatch::kFullBlock,
                      {&bitwise});
    append(verdicts, bitwise.verdicts());
  }
  FunctionalIdentity identity(recipe, precision, /*equal_shapes=*/false);
  RopeIntegrity rope(recipe, precision);
  RouterLogitScale router(recipe, precision.storage_roundoff);
  const WindowRun run =
      run_window_checks(parent, recipe, probe, child, Dispatch::kSorted,
                        {&identity, &rope, &router});
  append(verdicts, identity.verdicts());
  if (parent.double_logits.defined() && recipe.exact) {
    verdicts.push_back(double_identity(parent, recipe, probe, child));
  }
  append(verdicts, rope.verdicts());
  append(verdicts, router.verdicts());
  if (run.compared < 1) {
    verdicts.push_back(compared_share(run.compared));
  }
  return run.loss;
}

}  // namespace

std::vector<Verdict> verify_growth(const GrowthEvidence& evidence,
                                   Transformer& child) {
  const auto& [parent, recipe, probe, control, loss_budget] = evidence;
  std::vector<Verdict> verdicts = {config_audit(recipe, child.config())};
  std::vector<Verdict> audit =
      tensor_audit({parent.sketches}, recipe, child, parent.feed_forward_mean);
  // A tensor that is missing cannot be run.
  const bool can_run = audit.front().passed;
  append(verdicts, std::move(audit));
  if (!can_run) return verdicts;
  const double loss = compare_windows(evidence, child, verdicts);
  if (control != nullptr && recipe.has_noise()) {
    append(verdicts, symmetry_at_growth(recipe, probe, *control, child));
  }
  if (is_upcycle(recipe)) append(verdicts, router_load(child, probe));
  if (makes_gates(recipe)) verdicts.push_back(router_gates(child.config()));
  verdicts.push_back(boundary_record(
      parent.loss, loss, recipe.exact, loss_budget.value_or(recipe.loss_budget),
      identity_limit(recipe, precision_of(parent, recipe, child))));
  name_culprit(verdicts);
  return verdicts;
}

std::vector<Verdict> verify_phase(const PhaseEvidence& evidence,
                                  const Transformer& trained) {
  std::vector<Verdict> verdicts;
  if (evidence.control != nullptr && evidence.recipe.has_noise()) {
    append(verdicts, symmetry_after_phase(evidence.recipe, *evidence.control,
                                          evidence.parent_tensor,
                                          evidence.steps, trained));
  }
  if (is_upcycle(evidence.recipe)) {
    append(verdicts, router_health(trained, evidence.probe));
  } else if (evidence.recipe.parent.num_experts <
             evidence.recipe.child.num_experts) {
    verdicts.push_back(copied_experts(trained));
  }
  return verdicts;
}

}  // namespace annuli::verify

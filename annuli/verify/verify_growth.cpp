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

// What the child does on the probe.
struct Compared {
  double loss = 0;  // the mean over its windows, nats
  std::vector<Verdict> verdicts;
  std::vector<Verdict> router_load;  // of an upcycling
};

// Everything that reads the probe, in one round of passes: each process makes
// its own, and then all put together what they have seen. A plain upcycling has
// the windows twice, the first time in equal GEMM shapes.
Compared compare(const GrowthEvidence& evidence, const Transformer& child) {
  const auto& [parent, recipe, probe, control, loss_budget] = evidence;
  const Precision precision = precision_of(parent, recipe, child);
  FunctionalIdentity bitwise(recipe, precision, /*equal_shapes=*/true);
  WindowPasses in_equal_shapes(parent, recipe, probe, child,
                               Dispatch::kFullBlock, {&bitwise});
  FunctionalIdentity identity(recipe, precision, /*equal_shapes=*/false);
  RopeIntegrity rope(recipe, precision);
  RouterLogitScale router(recipe, precision.storage_roundoff);
  WindowPasses windows(parent, recipe, probe, child, Dispatch::kSorted,
                       {&identity, &rope, &router});
  DoubleIdentity in_double(parent, recipe, probe, child);
  RouterLoad load(child, probe, closed_by(recipe));
  const bool with_double = parent.has_double_logits && recipe.exact;

  std::vector<Pass> passes;
  if (is_plain_upcycle(recipe)) in_equal_shapes.add_to(passes);
  windows.add_to(passes);
  if (with_double) in_double.add_to(passes);
  if (is_upcycle(recipe) && parent.division.makes_router()) {
    load.add_to(passes);
  }
  make_passes(child, parent.division.group(), "proving: the child on the probe",
              passes);

  Compared result;
  if (is_plain_upcycle(recipe)) {
    in_equal_shapes.finish();
    append(result.verdicts, bitwise.verdicts());
  }
  const WindowRun run = windows.finish();
  result.loss = run.loss;
  append(result.verdicts, identity.verdicts());
  if (with_double) result.verdicts.push_back(in_double.verdict());
  append(result.verdicts, rope.verdicts());
  append(result.verdicts, router.verdicts());
  if (run.compared < 1) {
    result.verdicts.push_back(compared_share(run.compared));
  }
  if (is_upcycle(recipe)) {
    result.router_load = load.verdicts(parent.division.group());
  }
  return result;
}

}  // namespace

std::vector<Verdict> verify_growth(const GrowthEvidence& evidence,
                                   Transformer& child) {
  const auto& [parent, recipe, probe, control, loss_budget] = evidence;
  parallel::ProcessGroup& group = parent.division.group();
  std::vector<Verdict> verdicts = {config_audit(recipe, child.config())};
  std::vector<Verdict> audit = tensor_audit(
      {parent.sketches}, recipe, child,
      parent.centroids.empty() ? parent.feed_forward_mean : parent.centroids,
      group);
  // A tensor that is missing cannot be run.
  const bool can_run = audit.front().passed;
  append(verdicts, std::move(audit));
  if (!can_run) return verdicts;
  Compared compared = compare(evidence, child);
  append(verdicts, std::move(compared.verdicts));
  if (control != nullptr && recipe.has_noise()) {
    append(verdicts, symmetry_at_growth(recipe, probe, *control, child, group));
  }
  append(verdicts, std::move(compared.router_load));
  if (makes_gates(recipe)) verdicts.push_back(router_gates(child.config()));
  verdicts.push_back(boundary_record(
      parent.loss, compared.loss, recipe.exact,
      loss_budget.value_or(recipe.loss_budget),
      identity_limit(recipe, precision_of(parent, recipe, child))));
  name_culprit(verdicts);
  return verdicts;
}

std::vector<Verdict> verify_phase(const PhaseEvidence& evidence,
                                  const Transformer& trained) {
  std::vector<Verdict> verdicts;
  if (evidence.control != nullptr && evidence.recipe.has_noise()) {
    append(verdicts,
           symmetry_after_phase(evidence.recipe, *evidence.control,
                                evidence.parent_tensor, evidence.steps, trained,
                                evidence.group));
  }
  if (is_upcycle(evidence.recipe)) {
    append(verdicts, router_health(trained, evidence.probe, evidence.group,
                                   closed_by(evidence.recipe)));
  } else if (evidence.recipe.parent.num_experts <
             evidence.recipe.child.num_experts) {
    verdicts.push_back(copied_experts(trained, evidence.group));
  }
  return verdicts;
}

}  // namespace annuli::verify

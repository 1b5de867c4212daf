#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/symmetry_breaking.h"
#include "annuli/verify/verdict.h"

// All checks that apply to one growth step. Which apply to which operator
// stands in one table, in verify_growth.cpp.
//
// Processes that share a run prove together: they divide the passes
// (probe_division.h) and the tensors (model/row_owners.h) among them, and each
// gets the verdicts that one process alone would give.
namespace annuli::verify {

struct GrowthEvidence {
  const ParentRecord& parent;
  const grow::Recipe& recipe;
  const Probe& probe;
  const SymmetryControl* control = nullptr;  // of widening with noise
  // Nats, for recipes that are not exact; unset: the recipe's.
  std::optional<double> loss_budget;
};

// Before any training, by the processes that took the parent's record. The
// child is left as it was.
std::vector<Verdict> verify_growth(const GrowthEvidence& evidence,
                                   Transformer& child);

// After the phase that the growth began.
struct PhaseEvidence {
  const grow::Recipe& recipe;
  const Probe& probe;
  const SymmetryControl* control = nullptr;
  // The parent's tensor of that name, read from its checkpoint.
  std::function<at::Tensor(const std::string& name)> parent_tensor;
  int64_t steps = 0;                                 // updates since growth
  parallel::ProcessGroup& group = parallel::solo();  // who proves together
};
std::vector<Verdict> verify_phase(const PhaseEvidence& evidence,
                                  const Transformer& trained);

}  // namespace annuli::verify

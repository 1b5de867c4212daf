#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/grow/operator.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/symmetry_breaking.h"
#include "annuli/verify/verdict.h"
#include "tests/support/tiny_model.h"

// A tiny parent, its child, and all that verification is given of them.
namespace annuli::tiny {

// 2 windows of 16 tokens, and 256 tokens for the routers.
verify::Probe probe(const ModelConfig& config);

struct GrownPair {
  Transformer parent;
  verify::Probe probe;
  grow::Recipe recipe;
  verify::ParentRecord record;
  std::optional<verify::SymmetryControl> control;  // of noisy widening
  Transformer child;

  std::vector<verify::Verdict> verdicts();
  // The row of the child's table.
  size_t row(Part part, int64_t layer = -1, int64_t expert = -1) const;
  at::Tensor weight(Part part, int64_t layer = -1, int64_t expert = -1) const;
};

GrownPair grown_pair(const Transformer& parent, const grow::Recipe& recipe);
GrownPair grown_pair(const Flavour& flavour, const grow::Operator& op,
                     at::ScalarType dtype = at::kFloat);

// A growth of every operator, on models that have every part between them.
struct GrowthCase {
  std::string name;  // "widen3_dense_gated_tied_kv4"
  Flavour flavour;
  std::shared_ptr<const grow::Operator> op;
};
std::vector<GrowthCase> growth_cases();

// Models alone tell how the child was made. Which units were drawn anew follows
// from a seed, which they do not tell; a wide layer in shards may be a layer of
// another width in shards; and of two steps that commute, or where the second
// would have done for both, the order or the first is lost.
bool can_be_inferred(const grow::Recipe& recipe);

// The first verdict that failed, or null.
const verify::Verdict* first_failure(
    const std::vector<verify::Verdict>& verdicts);
// The first verdict of that check that failed, or null.
const verify::Verdict* first_failure(
    const std::vector<verify::Verdict>& verdicts, const std::string& check);
// All verdicts, one a line: what a failed expectation prints.
std::string lines(const std::vector<verify::Verdict>& verdicts);

}  // namespace annuli::tiny

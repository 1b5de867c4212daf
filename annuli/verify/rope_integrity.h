#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// head_dim is kept, and q and k after RoPE, per head and copy, equal the
// parent's at every position, in every mapped layer.
namespace annuli::verify {

std::vector<Verdict> rope_integrity(const ParentRecord& parent,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    const Transformer& child);

}  // namespace annuli::verify

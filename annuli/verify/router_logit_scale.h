#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// A mixture's routing survives growth: router logits equal the parent's
// relative to their spread, and the same experts are chosen wherever the
// margin between the k-th and the next exceeds what rounding can move.
//
// Empty for a parent without routers, and for layers whose router is zero
// (nothing to scale: every choice there is a tie).
namespace annuli::verify {

std::vector<Verdict> router_logit_scale(const ParentRecord& parent,
                                        const grow::Recipe& recipe,
                                        const Probe& probe,
                                        const Transformer& child);

}  // namespace annuli::verify

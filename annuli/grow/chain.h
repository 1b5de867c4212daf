#pragma once

#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/operator.h"

// Several operators as one: what they give one after the other, byte for byte,
// from one recipe and in one pass (compose.h). Every step has the chain's seed.
//
// Preserves what all of its steps preserve; budgets add up.
namespace annuli::grow {

class Chain : public Operator {
 public:
  explicit Chain(std::vector<GrowthStep> steps) : steps_(std::move(steps)) {}
  std::string name() const override { return "chain"; }
  Recipe recipe(const ModelConfig& parent, uint64_t seed) const override;

 private:
  std::vector<GrowthStep> steps_;
};

}  // namespace annuli::grow

#pragma once

#include <memory>
#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/operator.h"

// All operators, and all kinds of transforms, in one place: registry.cpp.
namespace annuli::grow {

struct RegistryEntry {
  const char* name;  // the key under `grow:` in a plan
  const char* paper;
  const char* preserves;  // what the child shares with the parent
  const char* sentence;   // what it does and keeps, for --help
  const char* example;    // how it is called
  // The operator with the plan's options, or null if the plan names another.
  std::unique_ptr<Operator> (*make)(const GrowPlan&);
};

const std::vector<RegistryEntry>& registry();

// The operator that the plan names; exactly one must be set.
std::unique_ptr<Operator> make_operator(const GrowPlan& plan);

// True for the name of an operator, or "chain".
bool is_operator(const std::string& name);

// The entry of that name; throws UserError with a suggestion.
const RegistryEntry& find_operator(const std::string& name);

}  // namespace annuli::grow

#pragma once

#include <fmt/core.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "annuli/config/plan.h"

// Plans of the folder plans/, as the tests of budgets change them.
namespace annuli::budget {

using Settings = std::vector<std::string>;

inline Plan plan_of(const std::string& name, const Settings& overrides = {}) {
  const char* root = std::getenv("ANNULI_ROOT");
  Settings all = {"model.vocab_size=50257"};
  all.insert(all.end(), overrides.begin(), overrides.end());
  return load_plan(std::string(root == nullptr ? "." : root) + "/plans/" + name,
                   all);
}

// A setting of train, in each of the four phases.
inline Settings of_all_phases(const std::string& setting) {
  Settings all;
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    all.push_back(fmt::format("phases.{}.train.{}", phase, setting));
  }
  return all;
}

inline Settings joined(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace annuli::budget

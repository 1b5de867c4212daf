#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/faults/scenes.h"
#include "tests/faults/tally.h"

// All that is to be tried, as a list.
namespace annuli::faults {

struct Case {
  std::string kind;  // its line of the tally
  std::function<Result(Script& script)> run;
};

struct Order {
  int kills = 0;  // in training
  int growth_kills = 0;
  int quick_kills = 0;  // in plans/quick.yaml
  int damages = 0;      // cut files, and as many with a byte flipped
  int each = 0;         // of every other kind in training; half in growth
  uint64_t seed = 1;
  std::string only{};  // part of a kind's name
};

// The cases use `scenes` when they are run. What this process may not do is
// noted as skipped. To be called before there are threads.
std::vector<Case> collect_cases(const Order& order, Scenes& scenes,
                                Tally& tally);

// Carries out the cases, as many at a time as there are cores, each in a folder
// of its own below `root`, which a case that is lost leaves there.
void try_cases(const std::vector<Case>& cases, const fs::path& root,
               Tally& tally);

}  // namespace annuli::faults

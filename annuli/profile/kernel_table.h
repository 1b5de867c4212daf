#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/profile/recorder.h"

// Where the time of recorded steps went, by kernel.
//
// A step is a scope named "step". An event's own time is its duration without
// the events inside it, so that rows add up to the steps' time and nothing is
// counted twice. Matrix products are classed by shape; classes that differ in
// one dimension only, as experts with their rows do, are one row with "n" for
// it. The own time of the scopes step, forward and backward, in which no kernel
// ran that we know of, is "unaccounted". Events of other threads are not part
// of a step and listed apart.
namespace annuli::profile {

struct KernelRow {
  std::string name;
  double calls = 0;         // a step
  double milliseconds = 0;  // a step
  double share = 0;         // of the step
  double gflops = 0;        // a second; 0 if it is no matrix product
};

struct KernelTable {
  int64_t steps = 0;
  double milliseconds = 0;           // a step
  std::vector<KernelRow> rows;       // longest first
  std::vector<KernelRow> frames;     // the frames' own times
  KernelRow unaccounted;             // their sum
  std::vector<KernelRow> elsewhere;  // on other threads
};

KernelTable kernel_table(const Recording& recording);

// For the terminal. Rows below `smallest` of the step are one last line.
std::string to_text(const KernelTable& table, double smallest = 0.002);

}  // namespace annuli::profile

#pragma once

#include <cstddef>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/parallel/process_group.h"
#include "annuli/verify/probe.h"

// Which of the processes that prove a growth together makes which passes over
// the probe, through the parent and, as it has the parent's record, through the
// child.
//
// A pass stays whole, in the shapes that it has in one process, and so do its
// bits. There are three kinds: the windows, one by one; two of them at once in
// fp64 (widening only); the router's tokens, all at once. The largest come
// first, each to the process that has the least to compute so far. Where the
// processes hold weights in parts, all pass through a layer together: then
// passes of like size are dealt out in turn.
namespace annuli::verify {

class ProbeDivision {
 public:
  // One process alone.
  explicit ProbeDivision(const Probe& probe);
  // `together`: the processes hold weights in parts. The group is borrowed.
  ProbeDivision(const Probe& probe, const grow::Recipe& recipe,
                parallel::ProcessGroup& group, bool together);

  parallel::ProcessGroup& group() const { return *group_; }
  // This process' windows, by their numbers in the probe.
  const std::vector<size_t>& windows() const { return windows_; }
  bool makes_double() const { return makes_double_; }
  bool makes_router() const { return makes_router_; }

 private:
  parallel::ProcessGroup* group_;
  std::vector<size_t> windows_;
  bool makes_double_ = true;
  bool makes_router_ = true;
};

}  // namespace annuli::verify

#pragma once

#include <cstdint>
#include <utility>

#include "annuli/core/error.h"

// The order in which the parts of a step are summed: a binary tree over their
// numbers. A node of n parts is the sum of its first n / 2 and of the others;
// so the sum of 4 is (0 + 1) + (2 + 3), that of 3 is 0 + (1 + 2).
//
// With n parts on a power of two of processes, N of them and N a divisor of n,
// each holds one node, and the tree over the nodes is that over the processes:
// the bits do not depend on N.
namespace annuli::parallel {

// How many sums are complete once part `part` of `parts` is there: so many
// times the newest two of the sums at hand are added.
inline int64_t sums_after(int64_t part, int64_t parts) {
  ANNULI_CHECK(0 <= part && part < parts, "part {} of {}", part, parts);
  int64_t complete = 0;
  while (parts > 1) {
    const int64_t first = parts / 2;
    if (part < first) {
      parts = first;
      complete = 0;
    } else {
      part -= first;
      parts -= first;
      ++complete;
    }
  }
  return complete;
}

// Adds values that come in the order of their numbers; `get(i)` gives the value
// of part i, `add(a, b)` their sum.
template <typename Get, typename Add>
auto tree_sum(int64_t begin, int64_t count, const Get& get, const Add& add)
    -> decltype(get(begin)) {
  ANNULI_CHECK(count > 0, "a sum of {} parts", count);
  if (count == 1) return get(begin);
  const int64_t first = count / 2;
  auto left = tree_sum(begin, first, get, add);
  return add(std::move(left), tree_sum(begin + first, count - first, get, add));
}

}  // namespace annuli::parallel

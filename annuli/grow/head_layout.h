#pragma once

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"

// Where the copies of heads go.
//
// Query head h of H reads kv head h / (H / K) of K. The child's heads must read
// copies of what their parents read, and every head must have the same number
// of copies. With groups of G = H / K and G' = H' / K' heads, and K' = n K + r:
//
//   G' >= G   kv heads: all of them n times, then r new ones. Heads: for every
//             kv head its G heads G' / G times over and G' % G new ones (copies
//             of a head stay inside its group); for a new kv head G' new ones.
//   G' <  G   the kv heads gain more than the heads (whole factors only): each
//             kv head's copies stand side by side and share its group. Their
//             gradients are those of their share, unlike each other: no state
//             can be carried to them.
//
// Multi-query (K = 1), grouped and plain attention are all cases of this.
namespace annuli::grow {

struct HeadLayout {
  std::vector<Slice> heads;
  std::vector<Slice> kv_heads;
  bool splits_groups = false;  // G' < G
};

// The sizes must fit: grown_shape.h refuses those that do not.
HeadLayout head_layout(int64_t heads, int64_t kv_heads, int64_t child_heads,
                       int64_t child_kv_heads);

}  // namespace annuli::grow

#include "annuli/grow/head_layout.h"

#include "annuli/core/error.h"
#include "annuli/grow/axis_rule.h"

namespace annuli::grow {
namespace {

void append(std::vector<Slice>& slices, Slice slice, int64_t times = 1) {
  if (slice.length > 0) slices.insert(slices.end(), times, slice);
}

// Copies of whole groups: one slice for all of them if nothing comes between.
std::vector<Slice> one_period(int64_t H, int64_t G, int64_t child_G) {
  if (child_G == G) return {{0, H}};
  std::vector<Slice> period;
  for (int64_t first = 0; first < H; first += G) {
    append(period, {first, G}, child_G / G);
    append(period, {kNew, child_G % G});
  }
  return period;
}

HeadLayout shared_groups(int64_t H, int64_t K, int64_t child_H,
                         int64_t child_K) {
  const int64_t tiles = child_H / H;
  const int64_t side_by_side = child_K / K / tiles;
  ANNULI_CHECK(child_H % H == 0 && child_K == K * tiles * side_by_side,
               "{} heads over {} kv heads do not become {} over {}", H, K,
               child_H, child_K);
  HeadLayout layout{tile(H, tiles), {}, /*splits_groups=*/true};
  for (int64_t i = 0; i < tiles; ++i) {
    for (int64_t k = 0; k < K; ++k) {
      append(layout.kv_heads, {k, 1}, side_by_side);
    }
  }
  return layout;
}

}  // namespace

HeadLayout head_layout(int64_t H, int64_t K, int64_t child_H, int64_t child_K) {
  ANNULI_CHECK(H % K == 0 && child_H % child_K == 0 && child_K >= K,
               "{} heads over {} kv heads do not become {} over {}", H, K,
               child_H, child_K);
  const int64_t G = H / K;
  const int64_t child_G = child_H / child_K;
  if (child_G < G) return shared_groups(H, K, child_H, child_K);
  HeadLayout layout;
  for (int64_t i = 0; i < child_K / K; ++i) {
    append(layout.kv_heads, {0, K});
    for (const Slice& slice : one_period(H, G, child_G)) {
      append(layout.heads, slice);
    }
  }
  append(layout.kv_heads, {kNew, child_K % K});
  append(layout.heads, {kNew, child_K % K * child_G});
  return layout;
}

}  // namespace annuli::grow

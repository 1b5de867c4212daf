#pragma once

#include <cstdint>

#include "annuli/verify/probe.h"

namespace annuli::verify {

// On how many tokens routers are measured and drawn against; at least, rounded
// up to whole windows.
inline constexpr int64_t kRouterTokens = 2048;

struct RandomProbe {
  int64_t windows = 8;
  int64_t length = 256;       // T
  int64_t router_tokens = 0;  // at least; rounded up to whole windows
  int64_t vocab_size = 0;
};

// Random ids instead of text, the same every time: identities hold for any
// input, but what a router does with these says nothing.
Probe random_probe(const RandomProbe& shape);

// Of windows of text, [W, T + 1] int64: each token's target is the next.
Probe probe_of(const at::Tensor& windows);

}  // namespace annuli::verify

#include "annuli/verify/random_probe.h"

#include <ATen/ops/empty.h>

#include "annuli/core/rng.h"

namespace annuli::verify {
namespace {

// [count, T + 1]
at::Tensor random_windows(int64_t count, const RandomProbe& shape,
                          const char* stream) {
  const CounterRng rng(0, stream);
  at::Tensor windows = at::empty({count, shape.length + 1}, at::kLong);
  auto* ids = windows.data_ptr<int64_t>();
  for (int64_t i = 0; i < windows.numel(); ++i) {
    ids[i] = static_cast<int64_t>(rng.below(
        static_cast<uint64_t>(i), static_cast<uint64_t>(shape.vocab_size)));
  }
  return windows;
}

}  // namespace

Probe random_probe(const RandomProbe& shape) {
  Probe probe = probe_of(random_windows(shape.windows, shape, "verify/probe"));
  const int64_t router_windows =
      (shape.router_tokens + shape.length - 1) / shape.length;
  probe.router_tokens =
      probe_of(random_windows(router_windows, shape, "verify/router"))
          .router_tokens;
  probe.is_text = false;
  return probe;
}

Probe probe_of(const at::Tensor& windows) {
  const int64_t length = windows.size(1) - 1;
  const at::Tensor tokens = windows.narrow(1, 0, length).contiguous();
  const at::Tensor targets = windows.narrow(1, 1, length).contiguous();
  Probe probe{.router_tokens = tokens};
  for (int64_t i = 0; i < windows.size(0); ++i) {
    probe.tokens.push_back(tokens.narrow(0, i, 1));
    probe.targets.push_back(targets.narrow(0, i, 1));
  }
  return probe;
}

}  // namespace annuli::verify

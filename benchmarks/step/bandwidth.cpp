#include "benchmarks/step/bandwidth.h"

#include <ATen/Parallel.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <chrono>

#include "annuli/kernels/parallel.h"

namespace annuli::bench {
namespace {

ANNULI_VECTOR_CLONES void pass(int64_t n, float* __restrict w,
                               const float* __restrict g, float* __restrict m,
                               float* __restrict v) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] += g[i];
    v[i] += g[i];
    w[i] += m[i] - v[i];
  }
}

}  // namespace

double measure_bandwidth() {
  constexpr int64_t n = int64_t{1} << 26;  // 256 MiB an array
  constexpr int64_t block = int64_t{1} << 16;
  at::Tensor arrays = at::ones({4, n}, at::kFloat);
  float* w = arrays.mutable_data_ptr<float>();
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const auto start = std::chrono::steady_clock::now();
    kernels::parallel_blocks(n, block, [&](int64_t begin, int64_t end) {
      pass(end - begin, w + begin, w + n + begin, w + 2 * n + begin,
           w + 3 * n + begin);
    });
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    best =
        std::max(best, static_cast<double>(n * kAdamwBytes) / seconds.count());
  }
  return best;
}

}  // namespace annuli::bench

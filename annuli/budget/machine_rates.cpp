#include "annuli/budget/machine_rates.h"

#include <ATen/ops/ones.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/product.h"

namespace annuli::budget {
namespace {

constexpr int kRepeats = 5;

// The fastest of a few: what disturbs only slows down.
double best_seconds(const std::function<void()>& work) {
  double best = std::numeric_limits<double>::infinity();
  work();  // first touch and first-call set-up
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    best = std::min(best, seconds.count());
  }
  return best;
}

double product_rate(at::ScalarType operands) {
  constexpr int64_t kRows = 2048;
  constexpr int64_t kIn = 1024;
  constexpr int64_t kOut = 2048;
  const bool narrow = operands == at::kBFloat16;
  const auto options = at::TensorOptions().dtype(operands);
  const at::Tensor x = at::ones({kRows, kIn}, options);
  const at::Tensor w = at::ones({kOut, kIn}, options);
  at::Tensor y =
      at::ones({kRows, kOut}, options.dtype(narrow ? at::kFloat : operands));
  const double seconds = best_seconds([&] {
    if (narrow) {
      kernels::multiply(y, kernels::operand(x), kernels::operand(w).t());
    } else {
      kernels::multiply(y, x, w.t());
    }
  });
  return 2.0 * kRows * kIn * kOut / seconds;
}

// y += x: three bytes moved for each of an array's.
double memory_rate() {
  constexpr int64_t kEntries = int64_t{24} << 20;  // 96 MiB an array
  at::Tensor y = kernels::owned_zeros({kEntries}, at::kFloat);
  const at::Tensor x = kernels::owned_zeros({kEntries}, at::kFloat);
  const double seconds = best_seconds([&] { y.add_(x); });
  return 3.0 * static_cast<double>(y.nbytes()) / seconds;
}

}  // namespace

MachineRates measure_rates(at::ScalarType operands) {
  return {.product_flops = product_rate(operands),
          .memory_bytes = memory_rate()};
}

int64_t program_bytes() {
  // Measured, not computed: docs/log.md, 2026-11-25.
  constexpr int64_t kMeasured = int64_t{190} * 1000 * 1000;
  return kMeasured;
}

}  // namespace annuli::budget

#include "annuli/budget/machine_rates.h"

#include <ATen/ops/ones.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string_view>
#include <system_error>

#include "annuli/core/text.h"
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

// "300T", "1.5e12": above 0.
std::optional<double> parse_operations(std::string_view text) {
  constexpr std::string_view kPowers = "KMGTP";
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number <= 0) return {};
  const std::string_view unit(end, text.data() + text.size());
  if (unit.empty()) return number;
  const size_t power = kPowers.find(unit[0]);
  if (unit.size() > 1 || power == std::string_view::npos) return {};
  return number * std::pow(1000.0, static_cast<double>(power + 1));
}

}  // namespace

std::optional<MachineRates> parse_rates(std::string_view text) {
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) return {};
  const auto products = parse_operations(text.substr(0, comma));
  const auto memory = parse_bytes(text.substr(comma + 1));
  if (!products || !memory || *memory <= 0) return {};
  return MachineRates{.product_flops = *products,
                      .memory_bytes = static_cast<double>(*memory),
                      .are_given = true};
}

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

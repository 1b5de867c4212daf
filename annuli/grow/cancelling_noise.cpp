#include "annuli/grow/cancelling_noise.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "annuli/kernels/normal_fill.h"
#include "annuli/kernels/owned_memory.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;    // elements per parallel task
constexpr int kLanes = 16;           // independent sums, so that they vectorise
constexpr double kTolerance = 2e-3;  // of the power: 0.01 dB
constexpr int kMaxIterations = 100;

// The clean value, rounded to what is stored.
template <typename Stored>
Arithmetic<Stored> clean(Arithmetic<Stored> w, double scale) {
  return static_cast<Arithmetic<Stored>>(
      static_cast<Stored>(static_cast<double>(w) * scale));
}

int64_t row_grain(int64_t cols) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, cols));
}

at::Tensor draw_numbers(const CounterRng& rng, uint64_t first, int64_t count) {
  at::Tensor numbers = kernels::owned_empty({count}, at::kFloat);
  float* data = numbers.data_ptr<float>();
  const int64_t pieces = (count + kGrain - 1) / kGrain;
  at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t start = piece * kGrain;
      const auto n = static_cast<size_t>(std::min(kGrain, count - start));
      kernels::normal_numbers(rng, first + start, {data + start, n});
    }
  });
  return numbers;
}

// Sums over a block, row by row in a fixed order.
struct Power {
  double total = 0;      // of the clipped noise
  double unclipped = 0;  // the part of it that still grows with sigma
};

template <typename Function>
Power sum_rows(int64_t rows, int64_t cols, const Function& of_row) {
  std::vector<Power> sums(rows);
  at::parallel_for(0, rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) sums[row] = of_row(row);
  });
  Power power;
  for (const Power& row : sums) {
    power.total += row.total;
    power.unclipped += row.unclipped;
  }
  return power;
}

template <typename Stored>
double clean_power(const NoisyPair<Stored>& pair, double scale) {
  return sum_rows(pair.rows, pair.cols,
                  [&](int64_t row) {
                    Power power;
                    const auto* w = pair.parent + row * pair.parent_stride;
                    for (int64_t c = 0; c < pair.cols; ++c) {
                      const double p = clean<Stored>(w[c], scale);
                      power.total += p * p;
                    }
                    return power;
                  })
      .total;
}

// Lanes hold partial sums of one row; in fp32 their rounding stays far below
// the tolerance of the power.
template <typename Stored>
Power row_power(const Arithmetic<Stored>* w, const float* z, int64_t cols,
                double scale, Arithmetic<Stored> sigma) {
  using T = Arithmetic<Stored>;
  std::array<T, kLanes> total{};
  std::array<T, kLanes> unclipped{};
  const auto add = [&](int64_t c, int lane) {
    const T limit = 3 * std::abs(clean<Stored>(w[c], scale));
    const T e = std::abs(sigma * static_cast<T>(z[c]));
    const T kept = std::min(e, limit);
    total[lane] += kept * kept;
    unclipped[lane] += e < limit ? kept * kept : T{0};
  };
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) add(c + lane, lane);
  }
  for (; c < cols; ++c) add(c, 0);
  Power power;
  for (int lane = 0; lane < kLanes; ++lane) {
    power.total += total[lane];
    power.unclipped += unclipped[lane];
  }
  return power;
}

// Newton's method on log power against log sigma. That curve rises with a
// slope that only falls, from 2 to 0, as more entries are clipped, so a step
// never passes the root from below; the step is bounded for the flat end.
template <typename Stored>
double solve_sigma(const NoisyPair<Stored>& pair, const float* z, double scale,
                   double target) {
  double sigma = std::sqrt(target / static_cast<double>(pair.rows * pair.cols));
  for (int i = 0; i < kMaxIterations; ++i) {
    const Power power = sum_rows(pair.rows, pair.cols, [&](int64_t row) {
      return row_power<Stored>(pair.parent + row * pair.parent_stride,
                               z + row * pair.cols, pair.cols, scale,
                               static_cast<Arithmetic<Stored>>(sigma));
    });
    if (power.total == 0) return 0;
    const double ratio = target / power.total;
    if (std::abs(ratio - 1) < kTolerance) break;
    const double slope = std::max(2 * power.unclipped / power.total, 0.05);
    sigma *= std::exp(std::clamp(std::log(ratio) / slope, -2.0, 2.0));
  }
  return sigma;
}

template <typename Stored>
void write_row(const Arithmetic<Stored>* w, const float* z, int64_t cols,
               double scale, Arithmetic<Stored> sigma, Stored* first,
               Stored* second) {
  using T = Arithmetic<Stored>;
  for (int64_t c = 0; c < cols; ++c) {
    const T p = clean<Stored>(w[c], scale);
    const T e = sigma * static_cast<T>(z[c]);
    const T kept = std::min(std::abs(e), 3 * std::abs(p));
    const Stored large = static_cast<Stored>(p < 0 ? p - kept : p + kept);
    const Stored small = static_cast<Stored>(2 * p - static_cast<T>(large));
    const bool same_sign = (p < 0) == (e < 0);
    first[c] = same_sign ? large : small;
    second[c] = same_sign ? small : large;
  }
}

}  // namespace

template <typename Stored>
void fill_noisy_pair(const NoisyPair<Stored>& pair, double scale, double snr_db,
                     const CounterRng& rng, uint64_t first_number) {
  const at::Tensor numbers =
      draw_numbers(rng, first_number, pair.rows * pair.cols);
  const float* z = numbers.const_data_ptr<float>();
  const double target = clean_power(pair, scale) * std::pow(10.0, -snr_db / 10);
  const auto sigma = static_cast<Arithmetic<Stored>>(
      target > 0 ? solve_sigma(pair, z, scale, target) : 0);
  at::parallel_for(0, pair.rows, row_grain(pair.cols),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       write_row(pair.parent + row * pair.parent_stride,
                                 z + row * pair.cols, pair.cols, scale, sigma,
                                 pair.first + row * pair.child_stride,
                                 pair.second + row * pair.child_stride);
                     }
                   });
}

#define ANNULI_INSTANTIATE(Stored)                                        \
  template void fill_noisy_pair(const NoisyPair<Stored>&, double, double, \
                                const CounterRng&, uint64_t)
ANNULI_INSTANTIATE(float);
ANNULI_INSTANTIATE(double);
ANNULI_INSTANTIATE(c10::BFloat16);
ANNULI_INSTANTIATE(c10::Half);
#undef ANNULI_INSTANTIATE

}  // namespace annuli::grow

#include "annuli/grow/cancelling_noise.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "annuli/kernels/normal_fill.h"
#include "annuli/kernels/owned_memory.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;    // elements per parallel task
constexpr int kTile = 256;           // entries of a row at a time
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

// Sums tiles lane by lane: the same order on every processor. In fp32 the
// rounding over one row stays far below the tolerance of the power.
template <typename T>
class LaneSum {
 public:
  void add(const std::array<T, kTile>& tile) {
    for (int i = 0; i < kTile; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) sums_[lane] += tile[i + lane];
    }
  }
  double total() const {
    return std::accumulate(sums_.begin(), sums_.end(), 0.0);
  }

 private:
  std::array<T, kLanes> sums_{};
};

template <typename Stored>
Power clean_row_power(const Arithmetic<Stored>* w, int64_t cols, double scale) {
  using T = Arithmetic<Stored>;
  LaneSum<T> sum;
  for (int64_t start = 0; start < cols; start += kTile) {
    const int64_t n = std::min<int64_t>(kTile, cols - start);
    std::array<T, kTile> squares{};
    for (int64_t i = 0; i < n; ++i) {
      const T p = clean<Stored>(w[start + i], scale);
      squares[i] = p * p;
    }
    sum.add(squares);
  }
  return {.total = sum.total()};
}

template <typename Stored>
Power noise_row_power(const Arithmetic<Stored>* w, const float* z, int64_t cols,
                      double scale, Arithmetic<Stored> sigma) {
  using T = Arithmetic<Stored>;
  LaneSum<T> total;
  LaneSum<T> unclipped;
  for (int64_t start = 0; start < cols; start += kTile) {
    const int64_t n = std::min<int64_t>(kTile, cols - start);
    std::array<T, kTile> kept{};
    std::array<T, kTile> growing{};
    for (int64_t i = 0; i < n; ++i) {
      const T limit = 3 * std::abs(clean<Stored>(w[start + i], scale));
      const T e = std::abs(sigma * static_cast<T>(z[start + i]));
      const T square = e * e;
      const T bound = limit * limit;
      kept[i] = square < bound ? square : bound;
      growing[i] = square < bound ? square : T{0};
    }
    total.add(kept);
    unclipped.add(growing);
  }
  return {total.total(), unclipped.total()};
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
      return noise_row_power<Stored>(pair.parent + row * pair.parent_stride,
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
void write_row(const Arithmetic<Stored>* __restrict w,
               const float* __restrict z, int64_t cols, double scale,
               Arithmetic<Stored> sigma, Stored* __restrict first,
               Stored* __restrict second) {
  using T = Arithmetic<Stored>;
  for (int64_t c = 0; c < cols; ++c) {
    const T p = clean<Stored>(w[c], scale);
    const T e = sigma * static_cast<T>(z[c]);
    const T kept = std::min(std::abs(e), 3 * std::abs(p));
    const Stored large = static_cast<Stored>(p + std::copysign(kept, p));
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
  const Power signal = sum_rows(pair.rows, pair.cols, [&](int64_t row) {
    return clean_row_power<Stored>(pair.parent + row * pair.parent_stride,
                                   pair.cols, scale);
  });
  const double target = signal.total * std::pow(10.0, -snr_db / 10);
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

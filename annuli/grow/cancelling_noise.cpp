#include "annuli/grow/cancelling_noise.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "annuli/kernels/normal_fill.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/quantize/code_range.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;     // elements per parallel task
constexpr int64_t kStripe = 1 << 20;  // elements of the parent read at a time
constexpr int kTile = 256;            // entries of a row at a time
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
double clean_row_power(const Arithmetic<Stored>* w, int64_t cols,
                       double scale) {
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
  return sum.total();
}

// The noise that codes hold, of a clean value in steps: a whole number of them.
template <typename T>
T coded_noise(T p, T e, T step) {
  if (step == 0) return 0;
  const T code = std::abs(p) / step;
  const T most =
      std::min(static_cast<T>(kernels::kLargestCode) - code, 3 * code);
  return step * std::min(std::nearbyint(e / step), most);
}

// As noise_row_power; what rounding takes from a number it gives to another.
template <typename Stored>
NoisePower coded_row_power(const Arithmetic<Stored>* w, const float* z,
                           const Arithmetic<Stored>* steps, int64_t cols,
                           double scale, Arithmetic<Stored> sigma) {
  using T = Arithmetic<Stored>;
  NoisePower power;
  for (int64_t i = 0; i < cols; ++i) {
    const T p = clean<Stored>(w[i], scale);
    const T step = steps[i] * static_cast<T>(scale);
    const T e = std::abs(sigma * static_cast<T>(z[i]));
    const auto kept = static_cast<double>(coded_noise(p, e, step));
    power.total += kept * kept;
    if (kept + static_cast<double>(step) > static_cast<double>(e)) {
      power.unclipped += kept * kept;
    }
  }
  return power;
}

template <typename Stored>
void write_coded_row(const Arithmetic<Stored>* w, const float* z,
                     const Arithmetic<Stored>* steps, int64_t cols,
                     double scale, Arithmetic<Stored> sigma, Stored* first,
                     Stored* second) {
  using T = Arithmetic<Stored>;
  for (int64_t c = 0; c < cols; ++c) {
    const T p = clean<Stored>(w[c], scale);
    const T e = sigma * static_cast<T>(z[c]);
    const T step = steps[c] * static_cast<T>(scale);
    const T kept = std::copysign(coded_noise(p, std::abs(e), step), e);
    first[c] = static_cast<Stored>(p + kept);
    second[c] = static_cast<Stored>(p - kept);
  }
}

template <typename Stored>
NoisePower noise_row_power(const Arithmetic<Stored>* w, const float* z,
                           int64_t cols, double scale,
                           Arithmetic<Stored> sigma) {
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

// The normal numbers of some rows, drawn into a buffer that is used again.
class RowNumbers {
 public:
  RowNumbers(const CounterRng& rng, uint64_t first_number)
      : rng_(rng), first_number_(first_number) {}

  const float* draw(uint64_t offset, int64_t count) {
    const uint64_t first = first_number_ + offset;
    const uint64_t aligned = first / 4 * 4;
    numbers_.resize(first - aligned + static_cast<size_t>(count));
    kernels::normal_numbers(rng_, aligned, numbers_);
    return numbers_.data() + (first - aligned);
  }

 private:
  const CounterRng& rng_;
  uint64_t first_number_;
  std::vector<float> numbers_;
};

}  // namespace

template <typename Stored>
NoisyBlock<Stored>::NoisyBlock(ParentBlock parent, double scale, double snr_db,
                               CounterRng rng, uint64_t first_number,
                               bool coded)
    : parent_(std::move(parent)),
      scale_(scale),
      rng_(rng),
      first_number_(first_number),
      coded_(coded) {
  const double target = signal_power() * std::pow(10.0, -snr_db / 10);
  sigma_ = static_cast<T>(target > 0 ? solve_sigma(target) : 0);
}

template <typename Stored>
template <typename Function>
void NoisyBlock<Stored>::for_rows(int64_t begin, int64_t end, bool with_numbers,
                                  const Function& f) const {
  const int64_t cols = parent_.cols();
  const int64_t stripe = std::max<int64_t>(1, kStripe / cols);
  for (int64_t start = begin; start < end; start += stripe) {
    const int64_t rows = std::min(stripe, end - start);
    const at::Tensor read =
        parent_.read(start, start + rows, c10::CppTypeToScalarType<T>::value);
    const T* w = read.const_data_ptr<T>();
    const bool with_steps = with_numbers && coded_;
    const at::Tensor steps =
        with_steps ? parent_.read_steps(start, start + rows,
                                        c10::CppTypeToScalarType<T>::value)
                   : at::Tensor();
    const T* s = with_steps ? steps.const_data_ptr<T>() : nullptr;
    const auto some_rows = [&](int64_t first, int64_t last) {
      RowNumbers numbers(rng_, first_number_);
      const float* z = nullptr;
      if (with_numbers) {
        z = numbers.draw((start + first) * cols, (last - first) * cols);
      }
      for (int64_t row = first; row < last; ++row) {
        f(Row{start + row, w + row * read.stride(0), z,
              with_steps ? s + row * cols : nullptr});
        if (with_numbers) z += cols;
      }
    };
    kernels::parallel_blocks(rows, row_grain(cols), some_rows);
  }
}

// Both sum row by row in a fixed order.
template <typename Stored>
double NoisyBlock<Stored>::signal_power() const {
  std::vector<double> rows(parent_.rows());
  for_rows(0, parent_.rows(), false, [&](const Row& row) {
    rows[row.number] = clean_row_power<Stored>(row.w, parent_.cols(), scale_);
  });
  return std::accumulate(rows.begin(), rows.end(), 0.0);
}

template <typename Stored>
NoisePower NoisyBlock<Stored>::noise_power(T sigma) const {
  std::vector<NoisePower> rows(parent_.rows());
  for_rows(0, parent_.rows(), true, [&](const Row& row) {
    rows[row.number] =
        coded_ ? coded_row_power<Stored>(row.w, row.z, row.steps,
                                         parent_.cols(), scale_, sigma)
               : noise_row_power<Stored>(row.w, row.z, parent_.cols(), scale_,
                                         sigma);
  });
  NoisePower power;
  for (const NoisePower& row : rows) {
    power.total += row.total;
    power.unclipped += row.unclipped;
  }
  return power;
}

// Newton's method on log power against log sigma. That curve rises with a
// slope that only falls, from 2 to 0, as more entries are clipped, so a step
// never passes the root from below; the step is bounded for the flat end.
template <typename Stored>
double NoisyBlock<Stored>::solve_sigma(double target) const {
  double sigma =
      std::sqrt(target / static_cast<double>(parent_.rows() * parent_.cols()));
  for (int i = 0; i < kMaxIterations; ++i) {
    const NoisePower power = noise_power(static_cast<T>(sigma));
    if (power.total == 0) return 0;
    const double ratio = target / power.total;
    if (std::abs(ratio - 1) < kTolerance) break;
    const double slope = std::max(2 * power.unclipped / power.total, 0.05);
    sigma *= std::exp(std::clamp(std::log(ratio) / slope, -2.0, 2.0));
  }
  return sigma;
}

template <typename Stored>
void NoisyBlock<Stored>::write(int64_t begin, int64_t end, Stored* first,
                               Stored* second, int64_t child_stride) const {
  for_rows(begin, end, true, [&](const Row& row) {
    const int64_t out = (row.number - begin) * child_stride;
    if (coded_) {
      write_coded_row(row.w, row.z, row.steps, parent_.cols(), scale_, sigma_,
                      first + out, second + out);
    } else {
      write_row(row.w, row.z, parent_.cols(), scale_, sigma_, first + out,
                second + out);
    }
  });
}

template class NoisyBlock<float>;
template class NoisyBlock<double>;
template class NoisyBlock<c10::BFloat16>;
template class NoisyBlock<c10::Half>;

}  // namespace annuli::grow

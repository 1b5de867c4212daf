#include "annuli/kernels/cpu/optim/adafactor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "annuli/kernels/cpu/optim/optimizer_loop.h"

namespace annuli::kernels {
namespace {

// One row: the sum of its squares, which are added to the columns' too.
template <typename G, typename A>
ANNULI_INLINE double add_squares(const G* gradient, int64_t size, A* columns) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < size; ++j) {
    const A g = load(gradient, j);
    columns[j] += g * g;
    sum += static_cast<double>(g) * static_cast<double>(g);
  }
  return sum;
}

// One row: the sum of its squares, each over its column's second moment.
template <typename G, typename A>
ANNULI_INLINE double weigh_squares(const G* gradient, int64_t size,
                                   const A* inverse) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < size; ++j) {
    const A g = load(gradient, j);
    sum += static_cast<double>(g) * static_cast<double>(g) *
           static_cast<double>(inverse[j]);
  }
  return sum;
}

// Part of a row: p -= decay p + rate g root.
template <typename W, typename G, typename A>
ANNULI_INLINE void descend(W* p, const G* gradient, const A* root, int64_t size,
                           A decay, A rate, const uint16_t* bits) {
#pragma omp simd
  for (int64_t j = 0; j < size; ++j) {
    const A w = load(p, j);
    store(p, j, w - decay * w - rate * load(gradient, j) * root[j], bits[j]);
  }
}

#define ANNULI_ADAFACTOR_ROWS(G)                                            \
  ANNULI_VECTOR_CLONES double row_squares(const G* gradient, int64_t size,  \
                                          ArithmeticOf<G>* columns) {       \
    return add_squares(gradient, size, columns);                            \
  }                                                                         \
  ANNULI_VECTOR_CLONES double row_weighed(const G* gradient, int64_t size,  \
                                          const ArithmeticOf<G>* inverse) { \
    return weigh_squares(gradient, size, inverse);                          \
  }
ANNULI_ADAFACTOR_ROWS(float)
ANNULI_ADAFACTOR_ROWS(double)
ANNULI_ADAFACTOR_ROWS(at::BFloat16)
#undef ANNULI_ADAFACTOR_ROWS

#define ANNULI_ADAFACTOR_DESCENT(W, G)                                     \
  ANNULI_VECTOR_CLONES void row_update(                                    \
      W* p, const G* gradient, const ArithmeticOf<W>* root, int64_t size,  \
      ArithmeticOf<W> decay, ArithmeticOf<W> rate, const uint16_t* bits) { \
    descend(p, gradient, root, size, decay, rate, bits);                   \
  }
ANNULI_ADAFACTOR_DESCENT(float, float)
ANNULI_ADAFACTOR_DESCENT(float, at::BFloat16)
ANNULI_ADAFACTOR_DESCENT(at::BFloat16, float)
ANNULI_ADAFACTOR_DESCENT(at::BFloat16, at::BFloat16)
ANNULI_ADAFACTOR_DESCENT(double, double)
#undef ANNULI_ADAFACTOR_DESCENT

template <typename W, typename G>
class Update {
  using A = ArithmeticOf<W>;

 public:
  Update(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& rows,
         at::Tensor& columns, const AdafactorStep& step)
      : step_(step),
        row_count_(parameter.size(0)),
        column_count_(parameter.size(1)),
        p_(parameter.mutable_data_ptr<W>()),
        gradient_(gradient.const_data_ptr<G>()),
        rows_(rows.mutable_data_ptr<A>()),
        columns_(columns.mutable_data_ptr<A>()),
        rate_(rate_of(step, parameter)) {}

  double run() {
    const double squares = update_means();
    const double rms = update_rms();
    descend_rows(rate_ / std::max(1.0, rms / step_.clip_threshold));
    return squares;
  }

 private:
  int64_t rows_of_task() const {
    return std::max<int64_t>(1, 2 * kTaskEntries / column_count_);
  }

  template <typename F>
  void for_each_row(const F& f) const {
    parallel_blocks(row_count_, rows_of_task(), [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) f(i, gradient_ + i * column_count_);
    });
  }

  // Returns the sum of the squares.
  double update_means() {
    const int64_t tasks = (row_count_ + rows_of_task() - 1) / rows_of_task();
    std::vector<A> partial(tasks * column_count_);
    std::vector<double> sums(row_count_);
    for_each_row([&](int64_t i, const G* row) {
      sums[i] =
          row_squares(row, column_count_,
                      partial.data() + i / rows_of_task() * column_count_);
    });
    const double kept = second_decay(step_);
    const double square = step_.gradient_scale * step_.gradient_scale;
    const auto mix = [&](A& mean, double sum, int64_t count) {
      const double now = square * sum / static_cast<double>(count) + step_.eps;
      mean =
          static_cast<A>(kept * static_cast<double>(mean) + (1 - kept) * now);
    };
    for (int64_t i = 0; i < row_count_; ++i) {
      mix(rows_[i], sums[i], column_count_);
    }
    for (int64_t j = 0; j < column_count_; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < tasks; ++t) sum += partial[t * column_count_ + j];
      mix(columns_[j], sum, row_count_);
    }
    mean_row_ = std::accumulate(rows_, rows_ + row_count_, 0.0) /
                static_cast<double>(row_count_);
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  // v of an entry is R C / mean(R).
  double inverse_of_row(int64_t i) const {
    return mean_row_ / static_cast<double>(rows_[i]);
  }

  double update_rms() const {
    std::vector<A> inverse(column_count_);
    for (int64_t j = 0; j < column_count_; ++j) inverse[j] = 1 / columns_[j];
    std::vector<double> sums(row_count_);
    for_each_row([&](int64_t i, const G* row) {
      sums[i] =
          row_weighed(row, column_count_, inverse.data()) * inverse_of_row(i);
    });
    const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
    return std::abs(step_.gradient_scale) *
           std::sqrt(sum / static_cast<double>(row_count_ * column_count_));
  }

  // In chunks of the noise, which need not end with a row.
  void descend_rows(double rate) const {
    std::vector<A> root(column_count_);
    for (int64_t j = 0; j < column_count_; ++j) {
      root[j] = 1 / std::sqrt(columns_[j]);
    }
    const A decay = static_cast<A>(rate_ * step_.weight_decay);
    sum_over_chunks(row_count_ * column_count_, [&](int64_t first,
                                                    int64_t last) {
      thread_local Noise noise;  // zero where it is not made
      if constexpr (kIsRounded<W>) {
        random_bits(step_.rounding, Operand::kWeight, first, noise);
      }
      for (int64_t begin = first; begin < last;) {
        const int64_t i = begin / column_count_;
        const int64_t j = begin % column_count_;
        const int64_t size = std::min(last - begin, column_count_ - j);
        const double of_row =
            rate * step_.gradient_scale * std::sqrt(inverse_of_row(i));
        row_update(p_ + begin, gradient_ + begin, root.data() + j, size, decay,
                   static_cast<A>(of_row), noise.bits.data() + (begin - first));
        begin += size;
      }
      return 0.0;
    });
  }

  const AdafactorStep& step_;
  int64_t row_count_;
  int64_t column_count_;
  W* p_;
  const G* gradient_;
  A* rows_;
  A* columns_;
  double rate_;
  double mean_row_ = 0;
};

}  // namespace

double cpu::adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                      at::Tensor& rows, at::Tensor& columns,
                      const AdafactorStep& step) {
  const at::Tensor g = gradient.contiguous();
  double squares = 0;
  dispatch_types(parameter, g, [&](auto weight, auto given) {
    squares = Update<decltype(weight), decltype(given)>(parameter, g, rows,
                                                        columns, step)
                  .run();
  });
  return squares;
}

}  // namespace annuli::kernels

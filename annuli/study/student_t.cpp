#include "annuli/study/student_t.h"

#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "annuli/core/error.h"

namespace annuli::study {
namespace {

// Tables of the quantile, 1 to 30 degrees of freedom.
constexpr std::array<double, 30> kQuantiles = {
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};

}  // namespace

double t_quantile(int64_t degrees) {
  ANNULI_CHECK(degrees >= 1, "t with {} degrees of freedom", degrees);
  if (degrees <= std::ssize(kQuantiles)) return kQuantiles[degrees - 1];
  // Cornish and Fisher's expansion around the normal's quantile; beyond 30 its
  // third term is below 0.001.
  constexpr double z = 1.959964;
  const auto n = static_cast<double>(degrees);
  const double z3 = z * z * z;
  const double z5 = z3 * z * z;
  return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n);
}

Sample sample_of(std::span<const double> values) {
  ANNULI_CHECK(!values.empty(), "a sample of nothing");
  Sample sample{.count = std::ssize(values)};
  const auto n = static_cast<double>(values.size());
  sample.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() == 1) {
    sample.half_width = std::numeric_limits<double>::infinity();
    return sample;
  }
  double squares = 0;
  for (const double value : values) {
    squares += (value - sample.mean) * (value - sample.mean);
  }
  sample.deviation = std::sqrt(squares / (n - 1));
  sample.half_width =
      t_quantile(sample.count - 1) * sample.deviation / std::sqrt(n);
  return sample;
}

}  // namespace annuli::study

#pragma once

#include <cstdint>
#include <span>

// Statistics of a few runs.
namespace annuli::study {

// The 97.5 % quantile of Student's t with so many degrees of freedom (>= 1):
// the mean lies within this many standard errors in 95 % of samples. To 0.001.
double t_quantile(int64_t degrees);

struct Sample {
  int64_t count = 0;
  double mean = 0;
  double deviation = 0;  // of one, n - 1 in the denominator; 0 for one value
  // Half the width of the mean's 95 % interval; infinite for one value.
  double half_width = 0;
};

// At least one value.
Sample sample_of(std::span<const double> values);

}  // namespace annuli::study

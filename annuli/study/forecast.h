#pragma once

#include <optional>
#include <span>
#include <vector>

// What a loss curve says of its own future.
//
// The curve is taken for a + b C^-c in the run's operations C, as losses of
// language models are at a constant rate over some doublings (2001.08361,
// 2203.15556). For each c of a grid, a and b are found by least squares; each c
// counts by its likelihood. So a forecast's interval holds what the noise and
// what the unknown exponent leave open; neighbours that err alike (lag-1
// correlation r of the residuals) widen it by sqrt((1 + r) / (1 - r)). That the
// curve is another is not in it: `forecast` adds how far such forecasts went
// wrong on the same curve before.
namespace annuli::study {

struct LossPoint {
  double flops = 0;
  double loss = 0;  // mean over equally many steps for each point
};

struct Forecast {
  double mean = 0;
  double low = 0;  // 95 %
  double high = 0;
};

class LossForecast {
 public:
  static constexpr size_t kFewestPoints = 16;

  // nullopt with fewer points, or if they do not differ in operations.
  static std::optional<LossForecast> of(std::span<const LossPoint> points);

  // Of the mean loss at so many operations.
  Forecast at(double flops) const;

 private:
  // For one exponent: a + b u with u = (C / middle)^-c, the covariance of a and
  // b, and how much it counts.
  struct Line {
    double exponent = 0;
    double a = 0;
    double b = 0;
    double aa = 0;
    double ab = 0;
    double bb = 0;
    double weight = 0;
  };

  double middle_ = 1;
  std::vector<Line> lines_;
};

// The loss at `flops` from the steps of a run so far, at its full rate: a fit
// to the last three doublings, in bins of equally many steps, whose interval is
// widened by the root mean square of what forecasts as far ahead (by the same
// factor) missed on this curve before, made at three earlier points. nullopt if
// there are too few steps for either.
std::optional<Forecast> forecast(std::span<const LossPoint> steps,
                                 double flops);

}  // namespace annuli::study

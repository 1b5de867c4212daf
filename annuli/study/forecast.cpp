#include "annuli/study/forecast.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace annuli::study {
namespace {

constexpr double kLowestExponent = 0.02;
constexpr double kHighestExponent = 2;
constexpr int kExponents = 96;

// Least squares of y = a + b u. The covariance is that of unit noise.
struct Fit {
  double a = 0;
  double b = 0;
  double aa = 0;
  double ab = 0;
  double bb = 0;
  std::vector<double> residuals;

  double squares() const {
    return std::inner_product(residuals.begin(), residuals.end(),
                              residuals.begin(), 0.0);
  }
};

Fit fit_of(std::span<const LossPoint> points, double middle, double exponent) {
  const auto n = static_cast<double>(points.size());
  std::vector<double> u;
  double mean_u = 0;
  double mean_y = 0;
  for (const LossPoint& point : points) {
    u.push_back(std::pow(point.flops / middle, -exponent));
    mean_u += u.back() / n;
    mean_y += point.loss / n;
  }
  double uu = 0;
  double uy = 0;
  for (size_t i = 0; i < u.size(); ++i) {
    uu += (u[i] - mean_u) * (u[i] - mean_u);
    uy += (u[i] - mean_u) * (points[i].loss - mean_y);
  }
  Fit fit{.b = uy / uu};
  fit.a = mean_y - fit.b * mean_u;
  fit.bb = 1 / uu;
  fit.ab = -mean_u / uu;
  fit.aa = 1 / n + mean_u * mean_u / uu;
  for (size_t i = 0; i < u.size(); ++i) {
    fit.residuals.push_back(points[i].loss - fit.a - fit.b * u[i]);
  }
  return fit;
}

// Of the noise of a point, with what correlation of neighbours adds.
double variance_of(const std::vector<double>& residuals) {
  double squares = 0;
  double neighbours = 0;
  for (size_t i = 0; i < residuals.size(); ++i) {
    squares += residuals[i] * residuals[i];
    if (i > 0) neighbours += residuals[i] * residuals[i - 1];
  }
  constexpr double kUnknowns = 3;  // a, b, c
  const double variance =
      squares / (static_cast<double>(residuals.size()) - kUnknowns);
  if (squares == 0) return 0;
  constexpr double kMost = 0.9;
  const double r = std::clamp(neighbours / squares, 0.0, kMost);
  return variance * (1 + r) / (1 - r);
}

double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2)); }

constexpr double kSeen = 8;  // three doublings
constexpr size_t kBins = 64;

// Means of equally many steps each; what is left over at the beginning counts
// for none.
std::vector<LossPoint> in_bins(std::span<const LossPoint> steps) {
  const size_t of_bin = std::max<size_t>(steps.size() / kBins, 1);
  std::vector<LossPoint> bins;
  for (size_t i = steps.size() % of_bin; i < steps.size(); i += of_bin) {
    LossPoint mean;
    for (size_t j = i; j < i + of_bin; ++j) {
      mean.flops += steps[j].flops / static_cast<double>(of_bin);
      mean.loss += steps[j].loss / static_cast<double>(of_bin);
    }
    bins.push_back(mean);
  }
  return bins;
}

// Steps between, the first excluded.
std::span<const LossPoint> between(std::span<const LossPoint> steps,
                                   double first, double last) {
  const auto begin =
      std::ranges::upper_bound(steps, first, {}, &LossPoint::flops);
  const auto end = std::ranges::upper_bound(steps, last, {}, &LossPoint::flops);
  return {begin, end};
}

std::optional<LossForecast> fit_before(std::span<const LossPoint> steps,
                                       double now) {
  return LossForecast::of(in_bins(between(steps, now / kSeen, now)));
}

// Of forecasts by the factor `ahead`: the last that can be checked, and two
// before it.
std::optional<double> past_error(std::span<const LossPoint> steps,
                                 double ahead) {
  constexpr int kChecks = 3;
  constexpr double kApart = 0.8;      // of one check's point to the next
  constexpr double kAveraged = 0.97;  // the loss there is a mean from here on
  double squares = 0;
  double target = steps.back().flops;
  for (int i = 0; i < kChecks; ++i, target *= kApart) {
    const auto fit = fit_before(steps, target / ahead);
    const auto there = between(steps, kAveraged * target, target);
    if (!fit || there.empty()) return std::nullopt;
    double mean = 0;
    for (const LossPoint& step : there) {
      mean += step.loss / static_cast<double>(there.size());
    }
    const double off = fit->at((1 + kAveraged) / 2 * target).mean - mean;
    squares += off * off / kChecks;
  }
  return std::sqrt(squares);
}

}  // namespace

std::optional<Forecast> forecast(std::span<const LossPoint> steps,
                                 double flops) {
  if (steps.empty()) return std::nullopt;
  const double now = steps.back().flops;
  const auto fit = fit_before(steps, now);
  const auto error = past_error(steps, std::max(flops / now, 1.0));
  if (!fit || !error) return std::nullopt;
  Forecast found = fit->at(flops);
  constexpr double kNormal95 = 1.96;
  found.low =
      found.mean - std::hypot(found.mean - found.low, kNormal95 * *error);
  found.high =
      found.mean + std::hypot(found.high - found.mean, kNormal95 * *error);
  return found;
}

std::optional<LossForecast> LossForecast::of(
    std::span<const LossPoint> points) {
  if (points.size() < kFewestPoints) return std::nullopt;
  const auto [least, most] =
      std::ranges::minmax_element(points, {}, &LossPoint::flops);
  if (!(least->flops > 0) || !(most->flops > least->flops)) return std::nullopt;
  LossForecast forecast;
  forecast.middle_ = std::sqrt(least->flops * most->flops);
  std::vector<Fit> fits;
  std::vector<double> exponents;
  for (int i = 0; i < kExponents; ++i) {
    const double share = static_cast<double>(i) / (kExponents - 1);
    exponents.push_back(kLowestExponent *
                        std::pow(kHighestExponent / kLowestExponent, share));
    fits.push_back(fit_of(points, forecast.middle_, exponents.back()));
  }
  const Fit& best = *std::ranges::min_element(
      fits, {}, [](const Fit& fit) { return fit.squares(); });
  const double variance = variance_of(best.residuals);
  for (size_t i = 0; i < fits.size(); ++i) {
    const Fit& fit = fits[i];
    const double above = fit.squares() - best.squares();
    const double weight =
        above == 0 ? 1 : std::exp(-above / (2 * std::max(variance, 1e-300)));
    forecast.lines_.push_back({exponents[i], fit.a, fit.b, fit.aa * variance,
                               fit.ab * variance, fit.bb * variance, weight});
  }
  return forecast;
}

Forecast LossForecast::at(double flops) const {
  std::vector<std::pair<double, double>> parts;  // mean, deviation
  double all = 0;
  double mean = 0;
  for (const Line& line : lines_) {
    const double u = std::pow(flops / middle_, -line.exponent);
    const double here = line.a + line.b * u;
    const double variance = line.aa + 2 * line.ab * u + line.bb * u * u;
    parts.emplace_back(here, std::sqrt(std::max(variance, 0.0)));
    all += line.weight;
    mean += line.weight * here;
  }
  mean /= all;
  const auto share_below = [&](double x) {
    double below = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto& [at, deviation] = parts[i];
      const double share = deviation > 0 ? normal_below((x - at) / deviation)
                                         : (at <= x ? 1.0 : 0.0);
      below += lines_[i].weight * share / all;
    }
    return below;
  };
  double widest = 0;
  for (const auto& [at, deviation] : parts) {
    widest = std::max(widest, std::abs(at - mean) + 8 * deviation);
  }
  const auto quantile = [&](double share) {
    double low = mean - widest;
    double high = mean + widest;
    constexpr int kHalvings = 60;
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      (share_below(middle) < share ? low : high) = middle;
    }
    return (low + high) / 2;
  };
  return {.mean = mean, .low = quantile(0.025), .high = quantile(0.975)};
}

}  // namespace annuli::study

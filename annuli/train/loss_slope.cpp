#include "annuli/train/loss_slope.h"

#include <cmath>
#include <cstddef>
#include <utility>

namespace annuli::train {
namespace {

void halve(LossBins& bins) {
  std::vector<double> means;
  for (size_t i = 0; i + 1 < bins.means.size(); i += 2) {
    means.push_back((bins.means[i] + bins.means[i + 1]) / 2);
  }
  bins.means = std::move(means);
  bins.steps_of_bin *= 2;
}

}  // namespace

bool LossBins::add(double loss) {
  open_sum += loss;
  if (++open_steps < steps_of_bin) return false;
  means.push_back(open_sum / static_cast<double>(steps_of_bin));
  open_sum = 0;
  open_steps = 0;
  if (means.size() == kMost) halve(*this);
  return true;
}

std::optional<LossSlope> fit_slope(const LossBins& bins,
                                   const LossPlace& place) {
  const auto of_bin = place.of_step * static_cast<double>(bins.steps_of_bin);
  const auto count = static_cast<int64_t>(bins.means.size());
  const double now = place.before + of_bin * static_cast<double>(count);
  std::vector<std::pair<double, double>> points;
  for (int64_t i = 0; i < count; ++i) {
    const double at = place.before + of_bin * (static_cast<double>(i) + 0.5);
    if (at < now / 2) continue;
    points.emplace_back(std::log2(at), bins.means[static_cast<size_t>(i)]);
  }
  if (std::ssize(points) < kFewestBins) return std::nullopt;
  const auto n = static_cast<double>(points.size());
  double mean_x = 0;
  double mean_y = 0;
  for (const auto& [x, y] : points) {
    mean_x += x / n;
    mean_y += y / n;
  }
  double xx = 0;
  double xy = 0;
  for (const auto& [x, y] : points) {
    xx += (x - mean_x) * (x - mean_x);
    xy += (x - mean_x) * (y - mean_y);
  }
  double residual = 0;
  for (const auto& [x, y] : points) {
    const double off = y - mean_y - xy / xx * (x - mean_x);
    residual += off * off;
  }
  return LossSlope{.fall = -xy / xx,
                   .error = std::sqrt(residual / (n - 2) / xx),
                   .bins = std::ssize(points)};
}

bool falls_by_less(const LossSlope& slope, double asked) {
  return slope.fall + 2 * slope.error < asked;
}

}  // namespace annuli::train

#include "annuli/report/comparison.h"

#include <algorithm>
#include <limits>

#include "annuli/report/rounded.h"

namespace annuli::report {
namespace {

constexpr std::array<const char*, 3> kAxes = {"tokens", "flops", "seconds"};

double loss_at(const Curve& curve, size_t axis, double at) {
  const std::vector<double>& spent = curve.axes[axis];
  const auto after = std::ranges::lower_bound(spent, at);
  if (after == spent.end()) return curve.loss.back();
  const auto i = static_cast<size_t>(after - spent.begin());
  if (i == 0 || spent[i] == at) return curve.loss[i];
  const double share = (at - spent[i - 1]) / (spent[i] - spent[i - 1]);
  return curve.loss[i - 1] + share * (curve.loss[i] - curve.loss[i - 1]);
}

}  // namespace

Json compare(const std::vector<Curve>& curves) {
  Json rows = Json::array();
  if (curves.size() < 2) return rows;
  for (size_t axis = 0; axis < kAxes.size(); ++axis) {
    double at = std::numeric_limits<double>::infinity();
    for (const Curve& curve : curves) {
      at = std::min(at, curve.axes[axis].empty() ? 0 : curve.axes[axis].back());
    }
    if (!(at > 0)) continue;
    Json losses = Json::array();
    Json differences = Json::array();
    for (const Curve& curve : curves) {
      const double loss = loss_at(curve, axis, at);
      losses.push_back(rounded(loss));
      differences.push_back(rounded(loss - loss_at(curves[0], axis, at)));
    }
    rows.push_back({{"axis", kAxes[axis]},
                    {"at", rounded(at)},
                    {"losses", losses},
                    {"differences", differences}});
  }
  return rows;
}

}  // namespace annuli::report

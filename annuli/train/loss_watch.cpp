#include "annuli/train/loss_watch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

double excess(const std::vector<double>& recent, double loss) {
  const double usual = median(recent);
  std::vector<double> distances;
  for (const double value : recent) {
    distances.push_back(std::abs(value - usual));
  }
  constexpr double kMadToDeviation = 1.4826;
  const double allowed =
      std::max(LossWatch::kLeastRise, LossWatch::kDeviations * kMadToDeviation *
                                          median(std::move(distances)));
  return loss > usual + allowed ? loss - usual : 0;
}

}  // namespace

LossWatch::LossWatch(std::vector<double> recent) : recent_(std::move(recent)) {
  ANNULI_CHECK(recent_.size() <= kWindow, "{} losses of {}", recent_.size(),
               kWindow);
}

double LossWatch::rise(double loss) {
  const double risen = recent_.size() < kFewest ? 0 : excess(recent_, loss);
  if (recent_.size() == kWindow) recent_.erase(recent_.begin());
  recent_.push_back(loss);
  return risen;
}

}  // namespace annuli::train

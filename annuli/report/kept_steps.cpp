#include "annuli/report/kept_steps.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace annuli::report {
namespace {

constexpr size_t kSpans = 1200;
constexpr size_t kAroundBoundary = 100;
constexpr int kBoundaries = 20;
constexpr size_t kRises = 200;
constexpr size_t kSpikes = 400;
constexpr size_t kMeasured = 500;

// How far each loss stands out from both of its neighbours, in a range.
std::vector<double> sharpness(const std::vector<double>& loss, size_t begin,
                              size_t end) {
  std::vector<double> sharp(end);
  for (size_t i = begin + 1; i + 1 < end; ++i) {
    const auto [low, high] = std::minmax(loss[i - 1], loss[i + 1]);
    sharp[i] = std::max(loss[i] - high, low - loss[i]);
  }
  return sharp;
}

class Keeper {
 public:
  Keeper(const Steps& steps, size_t begin, size_t end)
      : steps_(steps), begin_(begin), keep_(end) {}

  void keep_extremes(size_t begin, size_t end) {
    const std::vector<double>& loss = steps_.columns[kLoss];
    keep_[begin] = true;
    const auto [lowest, highest] =
        std::minmax_element(loss.begin() + static_cast<ptrdiff_t>(begin),
                            loss.begin() + static_cast<ptrdiff_t>(end));
    keep_[lowest - loss.begin()] = true;
    keep_[highest - loss.begin()] = true;
    const std::vector<double>& norm = steps_.columns[kGradNorm];
    size_t steepest = begin;
    for (size_t i = begin; i < end; ++i) {
      if (norm[i] > norm[steepest] || std::isnan(norm[steepest])) steepest = i;
    }
    keep_[steepest] = true;
  }

  void keep_around_boundaries() {
    int left = kBoundaries;
    for (size_t i = begin_ + 1; i < keep_.size() && left > 0; ++i) {
      if (steps_.phase[i] == steps_.phase[i - 1]) continue;
      --left;
      const size_t begin = i - std::min(i - begin_, kAroundBoundary);
      const size_t end = std::min(i + kAroundBoundary, keep_.size());
      for (size_t k = begin; k < end; ++k) keep_[k] = true;
    }
  }

  // The steps with the largest of these numbers above zero.
  void keep_largest(const std::vector<double>& numbers, size_t most) {
    std::vector<size_t> places;
    for (size_t i = begin_; i < keep_.size(); ++i) {
      if (numbers[i] > 0) places.push_back(i);
    }
    const size_t count = std::min(places.size(), most);
    std::partial_sort(
        places.begin(), places.begin() + static_cast<ptrdiff_t>(count),
        places.end(),
        [&](size_t a, size_t b) { return numbers[a] > numbers[b]; });
    for (size_t i = 0; i < count; ++i) keep_[places[i]] = true;
  }

  void keep_measured() {
    std::vector<size_t> places;
    const std::vector<double>& ratio = steps_.columns[kUpdateRatio];
    for (size_t i = begin_; i < keep_.size(); ++i) {
      if (!std::isnan(ratio[i])) places.push_back(i);
    }
    const size_t count = std::min(places.size(), kMeasured);
    for (size_t i = 0; i < count; ++i) {
      keep_[places[i * places.size() / count]] = true;
    }
  }

  std::vector<size_t> places() {
    keep_.back() = true;
    std::vector<size_t> kept;
    for (size_t i = begin_; i < keep_.size(); ++i) {
      if (keep_[i]) kept.push_back(i);
    }
    return kept;
  }

 private:
  const Steps& steps_;
  size_t begin_;
  std::vector<bool> keep_;  // of the steps before `end`
};

}  // namespace

std::vector<size_t> kept_steps(const RunHistory& history) {
  return kept_steps(history, 0, history.steps.size());
}

std::vector<size_t> kept_steps(const RunHistory& history, size_t begin,
                               size_t end) {
  const size_t count = end - begin;
  if (count <= kAllSteps) {
    std::vector<size_t> all(count);
    std::iota(all.begin(), all.end(), begin);
    return all;
  }
  Keeper keeper(history.steps, begin, end);
  for (size_t span = 0; span < kSpans; ++span) {
    keeper.keep_extremes(begin + span * count / kSpans,
                         begin + (span + 1) * count / kSpans);
  }
  keeper.keep_around_boundaries();
  keeper.keep_largest(history.steps.columns[kLossRise], kRises);
  keeper.keep_measured();
  keeper.keep_largest(sharpness(history.steps.columns[kLoss], begin, end),
                      kSpikes);
  return keeper.places();
}

}  // namespace annuli::report

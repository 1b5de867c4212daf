#pragma once

#include <cstddef>
#include <vector>

// Marks losses that rise out of the run of those before: spikes, and a
// divergence after growth, whose first losses are compared with the parent's
// last.
//
// A loss counts as risen if it lies above
//   median + max(kLeastRise, kDeviations * 1.4826 * mad)
// of the last kWindow losses, with mad the median distance from the median;
// 1.4826 makes it the standard deviation where losses are normally distributed.
// The median stays where it is while fewer than half of them are outliers; a
// higher level is accepted once they are more.
//
// State: the last losses, oldest first; part of a run's state.
namespace annuli::train {

class LossWatch {
 public:
  static constexpr size_t kWindow = 16;
  static constexpr size_t kFewest = 6;       // losses before any is judged
  static constexpr double kLeastRise = 0.5;  // nats
  static constexpr double kDeviations = 6;

  explicit LossWatch(std::vector<double> recent = {});

  // Nats above the median if it counts as risen, else 0. Remembers the loss.
  double rise(double loss);

  const std::vector<double>& recent() const { return recent_; }

 private:
  std::vector<double> recent_;
};

}  // namespace annuli::train

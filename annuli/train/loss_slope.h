#pragma once

#include <cstdint>
#include <optional>
#include <vector>

// How fast the loss falls: nats per doubling of a run's operations, for phases
// that end once it falls no faster (`train.until`).
//
// A doubling, not a number of operations, is the measure: a loss that follows
// a + b C^-c falls ever more slowly per operation, and by how much depends on
// the model's size; per doubling it falls by about c ln 2 (loss - a), whatever
// the size.
namespace annuli::train {

// The mean losses of equally many steps each; bounded, however long the phase:
// when there are kMost, they become half as many of twice the steps.
//
// State: all of it, part of a run's state.
struct LossBins {
  static constexpr size_t kMost = 256;

  int64_t steps_of_bin = 1;
  std::vector<double> means;
  double open_sum = 0;  // of the bin that is not full
  int64_t open_steps = 0;

  // True if that filled a bin.
  bool add(double loss);
  bool is_empty() const { return means.empty() && open_steps == 0; }
  bool operator==(const LossBins&) const = default;
};

// Where the bins lie, in operations of the run.
struct LossPlace {
  double before = 0;   // before the first bin's first step
  double of_step = 0;  // of one step
};

struct LossSlope {
  double fall = 0;   // nats per doubling
  double error = 0;  // its standard error
  int64_t bins = 0;
};

// Least squares of the means over log2 of the operations at the middle of each
// bin, over the last doubling: the bins that lie behind half of what is spent.
// The error is that of the residuals. nullopt with fewer than kFewestBins.
constexpr int64_t kFewestBins = 32;
std::optional<LossSlope> fit_slope(const LossBins& bins,
                                   const LossPlace& place);

// Whether the loss falls by less than `asked`, so far as the fit can tell: two
// standard errors must lie between.
bool falls_by_less(const LossSlope& slope, double asked);

}  // namespace annuli::train

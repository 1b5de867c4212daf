#include "annuli/train/step_record.h"

#include <algorithm>
#include <numeric>

namespace annuli::train {

double load_imbalance(const StepRecord& record) {
  double sum = 0;
  for (const std::vector<int64_t>& slots : record.load) {
    const double total = std::accumulate(slots.begin(), slots.end(), 0.0);
    const auto fullest =
        static_cast<double>(*std::max_element(slots.begin(), slots.end()));
    sum += fullest * static_cast<double>(slots.size()) / total;
  }
  return record.load.empty() ? 1
                             : sum / static_cast<double>(record.load.size());
}

int64_t dead_experts(const StepRecord& record) {
  int64_t dead = 0;
  for (const std::vector<int64_t>& slots : record.load) {
    dead += std::count(slots.begin(), slots.end(), 0);
  }
  return dead;
}

}  // namespace annuli::train

#include "annuli/report/load_map.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace annuli::report {

bool LoadMap::fits(const std::vector<std::vector<double>>& slots) const {
  if (empty()) return true;
  return slots.size() == layers_ && slots.front().size() == experts_;
}

void LoadMap::add(size_t row, const std::vector<std::vector<double>>& slots) {
  if (empty()) {
    layers_ = slots.size();
    experts_ = slots.front().size();
    first_row_ = row;
  }
  if (empty() || columns_.back().steps == width_) {
    if (columns_.size() == 2 * kTarget) halve();
    columns_.push_back({0, std::vector<double>(layers_ * experts_)});
  }
  Sum& sum = columns_.back();
  ++sum.steps;
  size_t place = 0;
  for (const std::vector<double>& layer : slots) {
    const double total = std::accumulate(layer.begin(), layer.end(), 0.0);
    const double scale =
        total > 0 ? static_cast<double>(experts_) / total : 0.0;
    for (const double count : layer) sum.loads[place++] += count * scale;
  }
}

void LoadMap::halve() {
  std::vector<Sum> joined;
  for (size_t i = 0; i < columns_.size(); i += 2) {
    joined.push_back(std::move(columns_[i]));
    if (i + 1 == columns_.size()) break;
    const Sum& second = columns_[i + 1];
    joined.back().steps += second.steps;
    for (size_t k = 0; k < second.loads.size(); ++k) {
      joined.back().loads[k] += second.loads[k];
    }
  }
  columns_ = std::move(joined);
  width_ *= 2;
}

void LoadMap::finish(size_t most_values) {
  const size_t cells = std::max<size_t>(layers_ * experts_, 1);
  const size_t most = std::clamp<size_t>(most_values / cells, 1, kTarget);
  while (columns_.size() > most) halve();
}

double LoadMap::value(size_t column, size_t layer, size_t expert) const {
  const Sum& sum = columns_[column];
  return sum.loads[layer * experts_ + expert] / static_cast<double>(sum.steps);
}

}  // namespace annuli::report

#include "tests/faults/tally.h"

#include <fmt/core.h>

#include <algorithm>

namespace annuli::faults {
namespace {

std::string line(const std::string& kind, int injected, int lost) {
  return fmt::format("{:<40} {:>8} {:>8} {:>6}\n", kind, injected,
                     injected - lost, lost);
}

}  // namespace

// A case that went wrong without its fault counts as one that met it.
void Tally::add(const std::string& kind, const Result& result,
                const std::vector<std::string>& commands) {
  const std::lock_guard lock(mutex_);
  if (!rows_.contains(kind)) order_.push_back(kind);
  Row& row = rows_[kind];
  const int injected =
      result.lost.empty() ? result.injected : std::max(1, result.injected);
  row.injected += injected;
  if (result.lost.empty()) return;
  row.lost += injected;
  std::string loss = fmt::format("\nlost: {}\n  {}\n", kind, result.lost);
  for (const std::string& command : commands) loss += "  " + command + "\n";
  losses_.push_back(std::move(loss));
}

void Tally::skip(const std::string& kind, const std::string& why) {
  const std::lock_guard lock(mutex_);
  notes_.push_back(fmt::format("skipped: {}: {}\n", kind, why));
}

int Tally::lost() const {
  const std::lock_guard lock(mutex_);
  int total = 0;
  for (const auto& [kind, row] : rows_) total += row.lost;
  return total;
}

int Tally::injected(const std::string& kind) const {
  const std::lock_guard lock(mutex_);
  const auto row = rows_.find(kind);
  return row == rows_.end() ? 0 : row->second.injected;
}

std::vector<std::string> Tally::kinds() const {
  const std::lock_guard lock(mutex_);
  return order_;
}

std::string Tally::text() const {
  const std::lock_guard lock(mutex_);
  std::string text = fmt::format("{:<40} {:>8} {:>8} {:>6}\n", "fault",
                                 "injected", "survived", "lost");
  Row total;
  std::string unmet;
  for (const std::string& kind : order_) {
    const Row& row = rows_.at(kind);
    if (row.injected == 0) {
      unmet += (unmet.empty() ? "" : "; ") + kind;
      continue;
    }
    text += line(kind, row.injected, row.lost);
    total.injected += row.injected;
    total.lost += row.lost;
  }
  text += line("all", total.injected, total.lost);
  if (!unmet.empty()) text += "no occasion: " + unmet + "\n";
  for (const std::string& note : notes_) text += note;
  for (const std::string& loss : losses_) text += loss;
  return text;
}

}  // namespace annuli::faults

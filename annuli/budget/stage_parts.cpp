#include "annuli/budget/stage_parts.h"

#include <algorithm>
#include <utility>

#include "annuli/budget/sizes.h"
#include "annuli/parallel/bucket.h"

namespace annuli::budget {
namespace {

int64_t bytes_of(at::ScalarType type) {
  return static_cast<int64_t>(c10::elementSize(type));
}

int64_t rounded_up(int64_t count, int64_t step) {
  return (count + step - 1) / step;
}

}  // namespace

StageParts::StageParts(const ModelConfig& config, const NumberTypes& numbers,
                       int64_t processes)
    : numbers_(numbers),
      table_(tensor_table(config)),
      owners_(table_, processes),
      stages_(table_) {}

bool StageParts::has_tied_head() const {
  return find_row(table_, Part::kHead) < 0;
}

int64_t StageParts::entries(size_t stage) const {
  int64_t sum = 0;
  for (const size_t row : stages_.rows(stage)) {
    sum += table_[row].trained_entries();
  }
  return sum;
}

int64_t StageParts::gradients(size_t stage) const {
  int64_t sum = 0;
  for (const size_t row : stages_.rows(stage)) {
    sum += tensor_bytes(table_[row].trained_entries(), numbers_.arithmetic);
  }
  return sum;
}

int64_t StageParts::own_gradients_from(size_t stage) const {
  std::vector<int64_t> sums(static_cast<size_t>(processes()));
  for (size_t row = 0; row < table_.size(); ++row) {
    if (stages_.stage(row) < stage) continue;
    sums[static_cast<size_t>(owners_.owner(row))] +=
        tensor_bytes(table_[row].trained_entries(), numbers_.arithmetic);
  }
  return std::ranges::max(sums);
}

// What is fetched is the allocator's, what is own lies by itself.
int64_t StageParts::weights_of_others(size_t stage, int64_t process) const {
  int64_t sum = 0;
  for (const size_t row : stages_.rows(stage)) {
    if (owners_.owns(process, row)) continue;
    sum += tensor_bytes(table_[row].trained_entries(), numbers_.weights);
  }
  return sum;
}

int64_t StageParts::weights_with(bool outside, size_t layers) const {
  int64_t most = 0;
  for (int64_t process = 0; process < processes(); ++process) {
    int64_t sum = owners_.entries_of(process) * bytes_of(numbers_.weights);
    if (outside) {
      sum += weights_of_others(0, process) +
             weights_of_others(size() - 1, process);
    }
    int64_t largest = 0;
    for (size_t stage = 1; stage + 1 < size(); ++stage) {
      int64_t beside = 0;
      for (size_t i = stage; i < stage + layers && i + 1 < size(); ++i) {
        beside += weights_of_others(i, process);
      }
      largest = std::max(largest, beside);
    }
    most = std::max(most, sum + largest);
  }
  return most;
}

std::vector<int64_t> StageParts::entries_by_owner(
    const std::vector<size_t>& rows) const {
  std::vector<int64_t> sums(static_cast<size_t>(processes()));
  for (const size_t row : rows) {
    sums[static_cast<size_t>(owners_.owner(row))] +=
        table_[row].trained_entries();
  }
  return sums;
}

int64_t StageParts::slice(int64_t entry_bytes) const {
  return parallel::slice_of_bucket(parallel::kBucketBytes, entry_bytes,
                                   processes());
}

int64_t StageParts::exchanges(size_t stage, int64_t entry_bytes) const {
  return rounded_up(std::ranges::max(entries_by_owner(stages_.rows(stage))),
                    slice(entry_bytes));
}

int64_t StageParts::exchanges_of_all(int64_t entry_bytes) const {
  return rounded_up(owners_.most_entries(), slice(entry_bytes));
}

namespace {

// Of two processes the other's; of more, what comes from all others, or goes to
// them.
int64_t most_through_link(const std::vector<int64_t>& entries) {
  int64_t all = 0;
  for (const int64_t count : entries) all += count;
  int64_t most = 0;
  for (const int64_t own : entries) {
    most = std::max({most, all - own, (std::ssize(entries) - 1) * own});
  }
  return most;
}

}  // namespace

int64_t StageParts::entries_through_link(size_t stage) const {
  return most_through_link(entries_by_owner(stages_.rows(stage)));
}

int64_t StageParts::entries_through_link_of_all() const {
  return most_through_link(entries_of_all());
}

int64_t StageParts::most_in_bucket(std::vector<int64_t> entries,
                                   int64_t entry_bytes, int64_t times_own,
                                   int64_t times_others) const {
  int64_t all = 0;
  for (int64_t& count : entries) {
    count = std::min(count, slice(entry_bytes));
    all += count;
  }
  int64_t most = 0;
  for (const int64_t own : entries) {
    most = std::max(most, times_own * own + times_others * (all - own));
  }
  return most * entry_bytes;
}

int64_t StageParts::gradient_buckets(size_t stage) const {
  return most_in_bucket(entries_by_owner(stages_.rows(stage)),
                        bytes_of(numbers_.arithmetic), processes() - 1,
                        processes() > 2 ? 2 : 1);
}

int64_t StageParts::weight_buckets(std::vector<int64_t> entries) const {
  return most_in_bucket(std::move(entries), bytes_of(numbers_.weights),
                        processes() > 2 ? processes() : 1, 1);
}

int64_t StageParts::weight_buckets(size_t stage) const {
  return weight_buckets(entries_by_owner(stages_.rows(stage)));
}

int64_t StageParts::weight_buckets_of_all() const {
  return weight_buckets(entries_of_all());
}

std::vector<int64_t> StageParts::entries_of_all() const {
  std::vector<int64_t> entries;
  for (int64_t process = 0; process < processes(); ++process) {
    entries.push_back(owners_.entries_of(process));
  }
  return entries;
}

}  // namespace annuli::budget

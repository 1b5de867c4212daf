#include "annuli/data/loader.h"

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::data {

Batch Batch::rows(int64_t first, int64_t count) const {
  ANNULI_CHECK(first >= 0 && count >= 0 && first <= batch_size - count,
               "rows {} to {} of {}", first, first + count, batch_size);
  const int64_t begin = first * sequence_length;
  const int64_t end = begin + count * sequence_length;
  return {count,
          sequence_length,
          {tokens.begin() + begin, tokens.begin() + end},
          {targets.begin() + begin, targets.begin() + end}};
}

Loader::Loader(const TokenFile& file, std::vector<TokenRange> documents,
               int64_t sequence_length, uint64_t seed, std::string_view stream)
    : file_(&file),
      documents_(std::move(documents)),
      starts_{0},
      length_(sequence_length),
      rng_(seed, stream) {
  ANNULI_CHECK(length_ > 0, "windows of {} tokens", length_);
  for (const TokenRange& range : documents_) {
    ANNULI_CHECK(range.begin >= 0 && range.begin < range.end &&
                     range.end <= file.token_count(),
                 "tokens {} to {} of {}", range.begin, range.end,
                 file.token_count());
    starts_.push_back(starts_.back() + range.size());
  }
  if (token_count() <= length_) {
    user_error(
        "drawing windows for '{}' from {}: found {} tokens, expected "
        "at least {} for sequence_length {}; give more text, another "
        "validation_fraction or a shorter sequence_length",
        stream, file.path().string(), token_count(), length_ + 1, length_);
  }
}

Batch Loader::next(int64_t batch_size) {
  Batch batch = windows(next_, batch_size);
  next_ += static_cast<uint64_t>(batch_size);
  return batch;
}

Batch Loader::windows(uint64_t first, int64_t count) const {
  ANNULI_CHECK(count > 0, "a batch of {} windows", count);
  const auto positions = static_cast<uint64_t>(token_count() - length_);
  std::vector<int64_t> chosen(static_cast<size_t>(count));
  for (int64_t& position : chosen) {
    position = static_cast<int64_t>(rng_.below(first++, positions));
  }
  return read_windows(chosen);
}

Batch Loader::fixed_windows(int64_t count) const {
  ANNULI_CHECK(count > 0, "a batch of {} windows", count);
  if (count > max_fixed_windows()) {
    user_error(
        "choosing {} fixed windows of {} tokens in {}: found {} tokens, "
        "enough for {}",
        count, length_ + 1, file_->path().string(), token_count(),
        max_fixed_windows());
  }
  // In 128 bits: the product may pass 2^63. Steps are at least T + 1.
  std::vector<int64_t> chosen(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    chosen[static_cast<size_t>(i)] =
        static_cast<int64_t>(static_cast<__int128>(i) * token_count() / count);
  }
  return read_windows(chosen);
}

void Loader::seek(const LoaderState& state) {
  if (state.seed != rng_.seed()) {
    user_error(
        "continuing to read {}: found data seed {} in the saved state, "
        "expected {}; resume with the seed the run began with",
        file_->path().string(), state.seed, rng_.seed());
  }
  next_ = state.next_window;
}

Batch Loader::read_windows(std::span<const int64_t> positions) const {
  Batch batch;
  batch.batch_size = std::ssize(positions);
  batch.sequence_length = length_;
  std::vector<int64_t> window(static_cast<size_t>(length_) + 1);
  for (int64_t position : positions) {
    read(position, window);
    batch.tokens.insert(batch.tokens.end(), window.begin(), window.end() - 1);
    batch.targets.insert(batch.targets.end(), window.begin() + 1, window.end());
  }
  return batch;
}

void Loader::read(int64_t position, std::span<int64_t> out) const {
  const auto after = std::ranges::upper_bound(starts_, position);
  auto document = static_cast<size_t>(after - starts_.begin() - 1);
  while (!out.empty()) {
    ANNULI_CHECK(document < documents_.size(), "token {} of {}", position,
                 token_count());
    const TokenRange& range = documents_[document];
    const int64_t offset = position - starts_[document];
    const int64_t count = std::min(std::ssize(out), range.size() - offset);
    file_->read(range.begin + offset, out.first(static_cast<size_t>(count)));
    out = out.subspan(static_cast<size_t>(count));
    position += count;
    ++document;
  }
}

}  // namespace annuli::data

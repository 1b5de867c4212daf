#include "annuli/data/loader.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/data/shuffle.h"

namespace annuli::data {
namespace {

std::vector<int64_t> part_of(const std::vector<int64_t>& all, int64_t begin,
                             int64_t end) {
  if (all.empty()) return {};
  return {all.begin() + begin, all.begin() + end};
}

std::vector<double> weights_of(const std::vector<WeightedText>& texts) {
  std::vector<double> weights;
  for (const WeightedText& one : texts) weights.push_back(one.weight);
  return weights;
}

}  // namespace

Batch Batch::rows(int64_t first, int64_t count) const {
  ANNULI_CHECK(first >= 0 && count >= 0 && first <= batch_size - count,
               "rows {} to {} of {}", first, first + count, batch_size);
  const int64_t begin = first * sequence_length;
  const int64_t end = begin + count * sequence_length;
  return {count, sequence_length, part_of(tokens, begin, end),
          part_of(targets, begin, end), part_of(documents, begin, end)};
}

void Batch::append(const Batch& more) {
  ANNULI_CHECK(batch_size == 0 || sequence_length == more.sequence_length,
               "windows of {} and {} tokens", sequence_length,
               more.sequence_length);
  batch_size += more.batch_size;
  sequence_length = more.sequence_length;
  tokens.insert(tokens.end(), more.tokens.begin(), more.tokens.end());
  targets.insert(targets.end(), more.targets.begin(), more.targets.end());
  documents.insert(documents.end(), more.documents.begin(),
                   more.documents.end());
}

Loader::Loader(const TokenFile& file, std::vector<TokenRange> documents,
               int64_t sequence_length, uint64_t seed, std::string_view stream)
    : Loader({{LaidOutText(file, std::move(documents))}},
             {.length = sequence_length}, seed, stream) {}

Loader::Loader(std::vector<WeightedText> texts, const WindowOptions& options,
               uint64_t seed, std::string_view stream)
    : texts_(std::move(texts)),
      options_(options),
      seed_(seed),
      mixture_(weights_of(texts_), seed, stream) {
  const int64_t T = options_.length;
  ANNULI_CHECK(T > 0, "windows of {} tokens", T);
  for (size_t i = 0; i < texts_.size(); ++i) {
    const LaidOutText& text = texts_[i].text;
    if (text.token_count() <= T) {
      user_error(
          "drawing windows for '{}' from {}: found {} tokens, expected "
          "at least {} for sequence_length {}; give more text, another "
          "validation_fraction or a shorter sequence_length",
          stream, text.file().path().string(), text.token_count(), T + 1, T);
    }
    streams_.push_back(texts_.size() == 1 ? std::string(stream)
                                          : fmt::format("{}/{}", stream, i));
    random_.emplace_back(seed, streams_.back());
  }
}

Batch Loader::next(int64_t batch_size) {
  Batch batch = windows(next_, batch_size);
  next_ += static_cast<uint64_t>(batch_size);
  return batch;
}

Batch Loader::windows(uint64_t first, int64_t count) const {
  ANNULI_CHECK(count > 0, "a batch of {} windows", count);
  std::vector<Place> chosen;
  for (int64_t i = 0; i < count; ++i) chosen.push_back(place_of(first++));
  return read_windows(chosen);
}

Loader::Place Loader::place_of(uint64_t i) const {
  ANNULI_CHECK(i >= epochs_from_, "window {}, before {}", i, epochs_from_);
  const Mixture::Window window = mixture_.window(i - epochs_from_);
  const LaidOutText* text = &texts_[window.text].text;
  if (options_.in_epochs) {
    return {text, position_in_epoch(window.text, window.number)};
  }
  const auto positions =
      static_cast<uint64_t>(text->token_count() - options_.length);
  return {text, static_cast<int64_t>(
                    random_[window.text].below(window.number, positions))};
}

uint64_t Loader::windows_of_epoch(size_t text) const {
  return static_cast<uint64_t>(texts_[text].text.token_count() /
                               options_.length);
}

int64_t Loader::position_in_epoch(size_t text, uint64_t number) const {
  const uint64_t windows = windows_of_epoch(text);
  const auto tokens = static_cast<uint64_t>(texts_[text].text.token_count());
  const CounterRng key(
      seed_, fmt::format("{}/epoch {} of {} from {}", streams_[text],
                         number / windows, options_.length, epochs_from_));
  const uint64_t at = shuffled(key, number % windows, windows);
  const uint64_t cut = key.below(0, tokens);
  return static_cast<int64_t>(
      (cut + at * static_cast<uint64_t>(options_.length)) % tokens);
}

int64_t Loader::max_fixed_windows() const {
  ANNULI_CHECK(texts_.size() == 1, "fixed windows of {} texts", texts_.size());
  return texts_[0].text.token_count() / (options_.length + 1);
}

Batch Loader::fixed_windows(int64_t count) const {
  ANNULI_CHECK(count > 0, "a batch of {} windows", count);
  const LaidOutText& text = texts_[0].text;
  if (count > max_fixed_windows()) {
    user_error(
        "choosing {} fixed windows of {} tokens in {}: found {} tokens, "
        "enough for {}",
        count, options_.length + 1, text.file().path().string(),
        text.token_count(), max_fixed_windows());
  }
  // In 128 bits: the product may pass 2^63. Steps are at least T + 1.
  std::vector<Place> chosen;
  for (int64_t i = 0; i < count; ++i) {
    chosen.push_back({&text, static_cast<int64_t>(static_cast<__int128>(i) *
                                                  text.token_count() / count)});
  }
  return read_windows(chosen);
}

void Loader::seek(const LoaderState& state) {
  if (state.seed != seed_) {
    user_error(
        "continuing to read {}: found data seed {} in the saved state, "
        "expected {}; resume with the seed the run began with",
        texts_[0].text.file().path().string(), state.seed, seed_);
  }
  next_ = state.next_window;
  // Another thread may be reading windows of these epochs.
  if (epochs_from_ != state.epochs_from) epochs_from_ = state.epochs_from;
}

void Loader::begin_epochs() {
  if (options_.in_epochs) epochs_from_ = next_;
}

std::vector<double> Loader::epochs() const {
  if (!options_.in_epochs) return {};
  std::vector<double> epochs;
  for (const uint64_t count : mixture_.counts(next_ - epochs_from_)) {
    epochs.push_back(static_cast<double>(count) /
                     static_cast<double>(windows_of_epoch(epochs.size())));
  }
  return epochs;
}

Batch Loader::read_windows(std::span<const Place> places) const {
  const int64_t T = options_.length;
  Batch batch;
  batch.batch_size = std::ssize(places);
  batch.sequence_length = T;
  std::vector<int64_t> window(static_cast<size_t>(T) + 1);
  for (const auto& [text, position] : places) {
    text->read(position, window);
    batch.tokens.insert(batch.tokens.end(), window.begin(), window.end() - 1);
    batch.targets.insert(batch.targets.end(), window.begin() + 1, window.end());
    if (!options_.documents) continue;
    text->read_documents(position, std::span(window).first(window.size() - 1));
    batch.documents.insert(batch.documents.end(), window.begin(),
                           window.end() - 1);
  }
  return batch;
}

}  // namespace annuli::data

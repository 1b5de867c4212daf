#include "annuli/tokenizer/word_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr size_t kSlots = size_t{1} << 17;
constexpr size_t kMostWords = kSlots / 2;

// Eight bytes at a time, each mixed by a multiplication and a shift.
uint64_t hash_of(std::string_view word) {
  uint64_t hash = word.size();
  for (size_t at = 0; at < word.size(); at += 8) {
    uint64_t eight = 0;
    std::memcpy(&eight, word.data() + at,
                std::min<size_t>(8, word.size() - at));
    hash = (hash ^ eight) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace

WordCache::WordCache() : slots_(kSlots) {}

size_t WordCache::slot_of(std::string_view word, uint64_t hash) const {
  size_t at = hash & (kSlots - 1);
  while (slots_[at].text_size != 0) {
    const Slot& slot = slots_[at];
    if (slot.hash == hash && slot.text_size == word.size() &&
        std::memcmp(text_.data() + slot.text_begin, word.data(), word.size()) ==
            0) {
      break;
    }
    at = (at + 1) & (kSlots - 1);
  }
  return at;
}

std::optional<std::span<const int32_t>> WordCache::find(
    std::string_view word) const {
  if (word.size() > kLongestWord) return std::nullopt;
  const Slot& slot = slots_[slot_of(word, hash_of(word))];
  if (slot.text_size == 0) return std::nullopt;
  return std::span(ids_).subspan(slot.ids_begin, slot.ids_size);
}

void WordCache::refuse_endless(std::string_view word,
                               const std::string& source) {
  if (word.size() <= size_t{std::numeric_limits<int32_t>::max()}) return;
  user_error(
      "encoding with {}: found a word of {} bytes, expected less than 2 GiB "
      "without a place to split",
      source, word.size());
}

void WordCache::insert(std::string_view word, std::span<const int32_t> ids) {
  if (word.empty() || word.size() > kLongestWord) return;
  if (words_ == kMostWords) {
    std::fill(slots_.begin(), slots_.end(), Slot{});
    words_ = 0;
    text_.clear();
    ids_.clear();
  }
  const uint64_t hash = hash_of(word);
  Slot& slot = slots_[slot_of(word, hash)];
  if (slot.text_size != 0) return;
  slot = {hash, static_cast<uint32_t>(text_.size()),
          static_cast<uint32_t>(ids_.size()),
          static_cast<uint16_t>(word.size()),
          static_cast<uint16_t>(ids.size())};
  text_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++words_;
}

}  // namespace annuli

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The ids of words seen before: text repeats itself, merging need not. Bounded
// (a few MB); when full it starts anew. One per thread.
namespace annuli {

class WordCache {
 public:
  static constexpr size_t kLongestWord = 64;  // longer ones are not kept

  WordCache();

  // Valid until the next insert.
  std::optional<std::span<const int32_t>> find(std::string_view word) const;
  void insert(std::string_view word, std::span<const int32_t> ids);

  // Appends the ids of `word`: those that it had before, or those that make()
  // leaves in `made`, which are remembered if it returns true. A word of 2 GiB
  // and more is a UserError that names `source`.
  template <typename Make>
  void append(std::string_view word, const std::string& source,
              std::vector<int32_t>& made, std::vector<int32_t>& ids,
              Make&& make) {
    if (const auto known = find(word)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
    refuse_endless(word, source);
    made.clear();
    if (make()) insert(word, made);
    ids.insert(ids.end(), made.begin(), made.end());
  }

 private:
  static void refuse_endless(std::string_view word, const std::string& source);

  struct Slot {
    uint64_t hash = 0;
    uint32_t text_begin = 0;
    uint32_t ids_begin = 0;
    uint16_t text_size = 0;  // 0: empty
    uint16_t ids_size = 0;
  };
  size_t slot_of(std::string_view word, uint64_t hash) const;

  std::vector<Slot> slots_;
  size_t words_ = 0;
  std::string text_;
  std::vector<int32_t> ids_;
};

}  // namespace annuli

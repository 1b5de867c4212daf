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

 private:
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

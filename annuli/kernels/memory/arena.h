#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

// A heap for large blocks that come and go with each training step.
//
// One range of addresses is reserved once; blocks are cut out of it where they
// fit best, and freed neighbours become one again, so that a block of any size
// finds the pages that other blocks have left: pages are mapped, zeroed and
// counted by the system once, not in each step.
//
// Guarantees: huge pages that hold memory (2 MiB each) never are more than the
// blocks alive at one moment have lain in since the last `release`; free ones
// above that are given back, those at the highest addresses first.
//
// Not thread-safe. Where addresses are limited (ulimit -v) it reserves what it
// gets; `take` throws std::bad_alloc if there is no room.
namespace annuli::kernels {

class Arena {
 public:
  static constexpr size_t kPage = size_t{4} << 10;
  static constexpr size_t kHugePage = size_t{2} << 20;

  explicit Arena(size_t reserve);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // What a block of so many bytes takes: whole pages.
  static size_t size_of(size_t bytes) {
    return (bytes + kPage - 1) / kPage * kPage;
  }

  void* take(size_t bytes);
  // False if the block is none of this arena's.
  bool give(void* block);
  // Gives all free pages back, and counts anew.
  void release();

  size_t live() const { return live_bytes_; }
  size_t peak() const { return peak_bytes_; }
  // Of free pages that still hold memory.
  size_t kept() const { return (resident_ - in_use_) * kHugePage; }

 private:
  using Ranges = std::map<size_t, size_t>;  // place -> size, bytes

  size_t take_free(size_t size);
  void grow(size_t size);
  void add_free(size_t place, size_t size);
  Ranges::iterator remove_free(Ranges::iterator range);  // the one after it
  void use_pages(size_t place, size_t size);
  void leave_pages(size_t place, size_t size);
  void give_back_above(size_t most);

  std::byte* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::byte* memory_ = nullptr;  // the first huge page of it
  size_t reserved_ = 0;          // bytes from there
  size_t grown_ = 0;             // bytes of it that blocks may lie in
  Ranges live_;
  Ranges free_;                              // no two are neighbours
  std::set<std::pair<size_t, size_t>> fit_;  // (size, place) of the free ones

  // By huge page: blocks that lie in it, and whether it may hold memory.
  std::vector<int32_t> blocks_in_;
  std::vector<bool> holds_memory_;
  size_t in_use_ = 0;    // pages with blocks
  size_t resident_ = 0;  // pages that may hold memory
  size_t most_in_use_ = 0;

  size_t live_bytes_ = 0;
  size_t peak_bytes_ = 0;
};

}  // namespace annuli::kernels

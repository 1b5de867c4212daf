#include "annuli/kernels/memory/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <new>

#include "annuli/core/error.h"

namespace annuli::kernels {

// Addresses alone: no memory, and nothing that a limit of data counts.
Arena::Arena(size_t reserve) {
  for (size_t size = reserve; size >= kHugePage; size /= 2) {
    void* range = ::mmap(nullptr, size + kHugePage, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) continue;
    mapped_ = static_cast<std::byte*>(range);
    mapped_bytes_ = size + kHugePage;
    reserved_ = size / kHugePage * kHugePage;
    const auto address = reinterpret_cast<uintptr_t>(range);
    memory_ = mapped_ + (kHugePage - address % kHugePage) % kHugePage;
    return;
  }
}

Arena::~Arena() {
  if (mapped_ != nullptr) ::munmap(mapped_, mapped_bytes_);
}

void* Arena::take(size_t bytes) {
  const size_t size = size_of(bytes);
  const size_t place = take_free(size);
  live_.emplace(place, size);
  live_bytes_ += size;
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
  use_pages(place, size);
  most_in_use_ = std::max(most_in_use_, in_use_);
  give_back_above(most_in_use_);
  return memory_ + place;
}

bool Arena::give(void* block) {
  const auto* place = static_cast<std::byte*>(block);
  if (place < memory_ || place >= memory_ + grown_) return false;
  const auto found = live_.find(static_cast<size_t>(place - memory_));
  ANNULI_CHECK(found != live_.end(), "a block that is not alive");
  const auto [begin, size] = *found;
  live_.erase(found);
  live_bytes_ -= size;
  leave_pages(begin, size);
  add_free(begin, size);
  return true;
}

void Arena::release() {
  give_back_above(in_use_);
  most_in_use_ = in_use_;
  peak_bytes_ = live_bytes_;
}

// The smallest free range that is large enough; of these the lowest.
size_t Arena::take_free(size_t size) {
  auto fit = fit_.lower_bound({size, 0});
  if (fit == fit_.end()) {
    grow(size);
    fit = fit_.lower_bound({size, 0});
  }
  const auto [whole, place] = *fit;
  remove_free(free_.find(place));
  if (whole > size) add_free(place + size, whole - size);
  return place;
}

// Adds room at the end, so that a block of `size` fits there.
void Arena::grow(size_t size) {
  size_t free_at_end = 0;
  if (!free_.empty()) {
    const auto& [place, bytes] = *free_.rbegin();
    if (place + bytes == grown_) free_at_end = bytes;
  }
  const size_t more =
      (size - free_at_end + kHugePage - 1) / kHugePage * kHugePage;
  if (more > reserved_ - grown_) throw std::bad_alloc();
  std::byte* begin = memory_ + grown_;
  if (::mprotect(begin, more, PROT_READ | PROT_WRITE) != 0) {
    throw std::bad_alloc();
  }
  ::madvise(begin, more, MADV_HUGEPAGE);
  add_free(grown_, more);
  grown_ += more;
  blocks_in_.resize(grown_ / kHugePage, 0);
  holds_memory_.resize(grown_ / kHugePage, false);
}

void Arena::add_free(size_t place, size_t size) {
  auto next = free_.lower_bound(place);
  if (next != free_.end() && place + size == next->first) {
    size += next->second;
    next = remove_free(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == place) {
      place = before->first;
      size += before->second;
      remove_free(before);
    }
  }
  free_.emplace(place, size);
  fit_.emplace(size, place);
}

Arena::Ranges::iterator Arena::remove_free(Ranges::iterator range) {
  fit_.erase({range->second, range->first});
  return free_.erase(range);
}

void Arena::use_pages(size_t place, size_t size) {
  const size_t last = (place + size - 1) / kHugePage;
  for (size_t page = place / kHugePage; page <= last; ++page) {
    if (blocks_in_[page]++ == 0) ++in_use_;
    if (!holds_memory_[page]) ++resident_;
    holds_memory_[page] = true;
  }
}

void Arena::leave_pages(size_t place, size_t size) {
  const size_t last = (place + size - 1) / kHugePage;
  for (size_t page = place / kHugePage; page <= last; ++page) {
    if (--blocks_in_[page] == 0) --in_use_;
  }
}

void Arena::give_back_above(size_t most) {
  for (size_t page = blocks_in_.size(); resident_ > most && page-- > 0;) {
    if (blocks_in_[page] > 0 || !holds_memory_[page]) continue;
    ::madvise(memory_ + page * kHugePage, kHugePage, MADV_DONTNEED);
    holds_memory_[page] = false;
    --resident_;
  }
}

}  // namespace annuli::kernels

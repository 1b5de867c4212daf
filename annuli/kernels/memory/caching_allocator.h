#pragma once

#include <cstdint>

// Memory for what lives within a step: activations, gradients, workspace.
//
// LibTorch's CPU allocator asks malloc for every tensor. Large blocks are then
// mapped, faulted in page by page and unmapped again each step, or, with raised
// thresholds, kept in a heap that fragments: with 11.5 GB of weights and
// moments a step's 1.5 GB of activations grew it to over 4 GB. This allocator
// serves blocks of 1 MiB and more from an arena of their own (arena.h), which
// keeps freed pages for the next blocks of any size.
//
// Guarantees: the memory that live and kept blocks occupy together never
// exceeds the largest that live ones occupied at once since the last release,
// in pages of 2 MiB. Smaller blocks are malloc's. Thread-safe. Weights and
// moments are not here: owned_memory.h.
namespace annuli::kernels {

// Makes it LibTorch's CPU allocator. Call once, before the first tensor.
void use_caching_allocator();

// Gives every kept block back and starts counting anew.
void release_cached_blocks();

// The same, and the heap's free pages too: between phases and after growth.
void give_back_memory();

// What a tensor of so many bytes occupies: whole pages.
int64_t cached_block_bytes(int64_t bytes);

struct CachedBlocks {
  int64_t live = 0;  // bytes in use
  int64_t kept = 0;  // bytes of pages without a block that are kept
  int64_t peak = 0;  // most bytes in use at once since the last release
};
CachedBlocks cached_blocks();

}  // namespace annuli::kernels

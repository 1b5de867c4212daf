#pragma once

#include <cstdint>

// What the process holds, by the kernel's own account (Linux, /proc/self).
namespace annuli {

int64_t peak_resident_bytes();     // VmHWM
int64_t current_resident_bytes();  // VmRSS

// Restarts VmHWM from the present size (writes 5 to clear_refs). False where
// the kernel forbids it: peaks then count from the start of the process.
bool reset_peak_resident();

// malloc thresholds for the small rest: blocks up to 32 MB stay in the heap
// between steps instead of being unmapped and faulted in again. Call first
// thing in main.
void tune_malloc();

// Sets a megabyte aside for `new` once memory has run out and an exception is
// on its way or being handled: destructors of the JSON library allocate, and
// one that cannot would end the process without a word. Elsewhere `new` throws
// as ever. Call once, in main.
void keep_memory_for_unwinding();

// Gives the heap's free pages back (malloc_trim).
void release_free_memory();

}  // namespace annuli

#pragma once

#include <array>
#include <cstddef>
#include <string>

// What a preloaded library (fault_calls.cpp) does to the program it is loaded
// into: it counts the calls by which the program changes the file system, or
// maps a file, below one folder, and lets one of them go wrong. The orders come
// from the environment:
//
//   ANNULI_FAULT_FOLDER   the folder; calls elsewhere are left alone
//   ANNULI_FAULT          KINDS:N:ACTION, for the N-th call (from 1) of KINDS,
//                         which are names of `kNames` joined by '+', or "all"
//   ANNULI_FAULT_FIRED    a file that is made when the action is taken
//   ANNULI_FAULT_VANISHES a folder that `vanish` renames to <folder>.gone
//   ANNULI_FAULT_COUNTS   a file for the number of calls of each kind, written
//                         when the program ends
//   ANNULI_FAULT_CLOCK    if set: the wall clock jumps by ten years, back and
//                         forth, from call to call
//
// ACTION is kill-before, kill-half (a write has then written half) or
// kill-after; full (half of the write, and from then on no room); short (every
// write from then on writes half); vanish; or the name of an error, with '+'
// for each call from then on.
//
// Every function here makes system calls directly: the C library's names for
// them are those that the library stands in for.
namespace annuli::fault {

enum Kind { kOpen, kWrite, kTruncate, kSync, kRename, kMkdir, kRemove, kMap };
inline constexpr std::array kNames = {"open",   "write", "truncate", "sync",
                                      "rename", "mkdir", "remove",   "map"};

// Whether the call is one to be counted.
bool is_watched(int descriptor);
bool is_watched(int folder, const char* path);

// What to do with a call that is: as it stands, with so many bytes of what it
// writes, or not at all but with an error. Kills the process if that is due.
struct Turn {
  bool go = true;
  size_t size = 0;
  int error = 0;
  bool die_after = false;
};
Turn turn_of(Kind kind, size_t size);

[[noreturn]] void die();
long fail(int error);  // sets errno; -1

// Seconds by which the wall clock is off this time.
long jump();

// `call` is told how many bytes to write; what does not write takes no notice.
template <typename Call>
long perform(Kind kind, bool watched, size_t size, Call call) {
  if (!watched) return call(size);
  const Turn turn = turn_of(kind, size);
  if (!turn.go) return fail(turn.error);
  const long result = call(turn.size);
  if (turn.die_after) die();
  return result;
}

}  // namespace annuli::fault

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "annuli/core/file.h"

// What reading text passes over, takes off or guesses, counted: a line for each
// kind, however many files and texts it was in.
namespace annuli::data {

enum class TextNote {
  kMisnamed,
  kByteOrderMark,
  kNotUtf8,
  kNull,
  kLoneSurrogate
};

class TextNotes {
 public:
  // `count` more of them in this file.
  void add(TextNote note, const fs::path& path, int64_t count = 1);
  // A line of its own.
  void add_line(std::string line) { lines_.push_back(std::move(line)); }

  // "data: ...", the lines of add_line first.
  std::vector<std::string> lines() const;

 private:
  struct Tally {
    int64_t count = 0;
    int64_t files = 0;
    fs::path first;
    fs::path last;
  };
  std::array<Tally, 5> tallies_;
  std::vector<std::string> lines_;
};

}  // namespace annuli::data

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/data/token_file.h"

// Windows of T + 1 tokens out of a set of documents: T inputs, and the same
// shifted by one as targets.
//
// The documents are laid end to end in file order, and a window may begin at
// any position that leaves it whole. So it may cross from one document into
// the next of the set (an end-of-text id stands between them, if the tokenizer
// has one); it never holds a token of another set.
// Training window i begins at a uniform position that is a pure function of
// (seed, stream, i): drawn with replacement, so there are no epochs, and the
// whole state of a loader is {seed, next window}.
//
// The file must outlive the loader. Thread-safe but for `next` and `seek`.
namespace annuli::data {

// B windows; row b is tokens[b * T ... b * T + T - 1], and targets alike.
struct Batch {
  int64_t batch_size = 0;        // B
  int64_t sequence_length = 0;   // T
  std::vector<int64_t> tokens;   // [B, T]
  std::vector<int64_t> targets;  // [B, T]

  // Rows [first, first + count).
  Batch rows(int64_t first, int64_t count) const;
};

struct LoaderState {
  uint64_t seed = 0;
  uint64_t next_window = 0;
  bool operator==(const LoaderState&) const = default;
};

class Loader {
 public:
  // A UserError if the documents do not hold one window. `stream` names the
  // use ("train"); loaders with different streams draw independently.
  Loader(const TokenFile& file, std::vector<TokenRange> documents,
         int64_t sequence_length, uint64_t seed, std::string_view stream);

  // The next B training windows.
  Batch next(int64_t batch_size);

  // Training windows [first, first + count), whatever was drawn before.
  Batch windows(uint64_t first, int64_t count) const;

  // `count` windows that do not overlap, spread evenly over the documents;
  // the same for every seed. For probes and validation. A UserError if fewer
  // fit (see max_fixed_windows).
  Batch fixed_windows(int64_t count) const;
  int64_t max_fixed_windows() const { return token_count() / (length_ + 1); }

  LoaderState state() const { return {rng_.seed(), next_}; }
  // Continues from a saved state; its seed must be this loader's, or else it
  // is a UserError: the run would go on with other data than it began with.
  void seek(const LoaderState& state);

  int64_t token_count() const { return starts_.back(); }
  int64_t sequence_length() const { return length_; }

 private:
  Batch read_windows(std::span<const int64_t> positions) const;
  void read(int64_t position, std::span<int64_t> out) const;

  const TokenFile* file_;
  std::vector<TokenRange> documents_;
  std::vector<int64_t> starts_;  // of each document laid end to end; the total
  int64_t length_;               // T
  CounterRng rng_;
  uint64_t next_ = 0;
};

}  // namespace annuli::data

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/data/laid_out_text.h"
#include "annuli/data/mixture.h"
#include "annuli/data/token_file.h"

// Windows of T + 1 tokens out of sets of documents: T inputs, and the same
// shifted by one as targets.
//
// The documents of a text are laid end to end in file order (laid_out_text.h).
// So a window may cross from one document into the next of the set (an
// end-of-text id stands between them, if the tokenizer has one); it never holds
// a token of another set. With `documents` it is told where they begin.
//
// Training window i is a pure function of (seed, stream, i, T). Of several
// texts it comes from one (mixture.h), of whose windows it is number m. Where
// it begins:
//
//   random   anywhere that leaves it whole: drawn with replacement
//   epochs   each epoch cuts the text into floor(tokens / T) windows, from a
//            place of its own on and around its end, and takes them in an order
//            of its own; m counts through one epoch after the other. So each
//            token is an input once in an epoch, but for less than T that are
//            left over, others in each epoch.
//
// The whole state of a loader is {seed, next window, and where epochs began}:
// windows of another length are others, so with a new length all texts begin
// an epoch, and epochs count from 0 again.
//
// The files must outlive the loader. Thread-safe but for `next` and `seek`, and
// of `windows` but for what moves the place where epochs began.
namespace annuli::data {

// B windows; row b is tokens[b * T ... b * T + T - 1], and targets alike.
struct Batch {
  int64_t batch_size = 0;        // B
  int64_t sequence_length = 0;   // T
  std::vector<int64_t> tokens;   // [B, T]
  std::vector<int64_t> targets;  // [B, T]
  // [B, T], for each token the first one of its document in the window; empty
  // if they are not asked for.
  std::vector<int64_t> documents = {};

  // Rows [first, first + count).
  Batch rows(int64_t first, int64_t count) const;
  // More rows, of the same kind.
  void append(const Batch& more);
};

struct LoaderState {
  uint64_t seed = 0;
  uint64_t next_window = 0;
  uint64_t epochs_from = 0;  // the window with which the first epoch began
  bool operator==(const LoaderState&) const = default;
};

struct WindowOptions {
  int64_t length = 0;  // T
  bool in_epochs = false;
  bool documents = false;
};

struct WeightedText {
  LaidOutText text;
  double weight = 1;
};

class Loader {
 public:
  // A UserError if a text does not hold one window. `stream` names the use
  // ("train"); loaders with different streams draw independently.
  Loader(std::vector<WeightedText> texts, const WindowOptions& options,
         uint64_t seed, std::string_view stream);
  // Of one text, in random order.
  Loader(const TokenFile& file, std::vector<TokenRange> documents,
         int64_t sequence_length, uint64_t seed, std::string_view stream);

  // The next B training windows.
  Batch next(int64_t batch_size);

  // Training windows [first, first + count), whatever was drawn before.
  Batch windows(uint64_t first, int64_t count) const;

  // `count` windows that do not overlap, spread evenly over the documents of
  // the one text; the same for every seed. For probes and validation. A
  // UserError if fewer fit (see max_fixed_windows).
  Batch fixed_windows(int64_t count) const;
  int64_t max_fixed_windows() const;

  LoaderState state() const { return {seed_, next_, epochs_from_}; }
  // Continues from a saved state; its seed must be this loader's, or else it
  // is a UserError: the run would go on with other data than it began with.
  void seek(const LoaderState& state);
  // With epochs: all texts begin one, from the next window on.
  void begin_epochs();

  // How often each text has been read so far; empty in random order.
  std::vector<double> epochs() const;

  int64_t sequence_length() const { return options_.length; }

 private:
  // Where a window begins.
  struct Place {
    const LaidOutText* text;
    int64_t position;
  };
  Place place_of(uint64_t i) const;
  int64_t position_in_epoch(size_t text, uint64_t number) const;
  uint64_t windows_of_epoch(size_t text) const;
  Batch read_windows(std::span<const Place> places) const;

  std::vector<WeightedText> texts_;
  WindowOptions options_;
  uint64_t seed_;
  Mixture mixture_;
  std::vector<std::string> streams_;  // of each text
  std::vector<CounterRng> random_;    // of each text
  uint64_t next_ = 0;
  uint64_t epochs_from_ = 0;
};

}  // namespace annuli::data

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/tokenizer/split_pattern.h"

// Cuts text into the words that merges never cross: a chain of stages, each
// applied to every piece of the stage before. As the pre-tokenizers of the
// Python `tokenizers` package, stage by stage.
//
// Immutable once built; `split` needs a workspace, one per thread.
namespace annuli {

// What becomes of the matches of a pattern and of what lies between them.
// Inverted, the two change places.
enum class SplitBehavior {
  kIsolated,  // each match a piece
  kRemoved,   // matches are left out
  kWithPrevious,
  kWithNext,
  kContiguous,  // matches in a row are one piece
};

enum class Prepend { kNever, kFirst, kAlways };

class PreTokenizer {
 public:
  using Workspace = std::vector<SplitPattern::Workspace>;
  using Emit = std::function<void(std::string_view)>;

  // GPT-2's, "ByteLevel" with use_regex in tokenizer.json.
  static const char* const kGpt2Pattern;

  void add_split(std::string pattern,
                 SplitBehavior behavior = SplitBehavior::kIsolated,
                 bool invert = false);
  // From here on a piece that does not start with a space gets one.
  void add_prefix_space();
  // Spaces become `mark`; a piece that does not start with it gets one (always,
  // or where it begins the text), and with `split` each mark begins a piece.
  void add_metaspace(std::string mark, Prepend prepend, bool split);
  // From here on each byte is spelled by the character of byte_alphabet.h. To
  // be added once, and no metaspace or prefix space after it.
  void add_byte_alphabet();

  // True with a byte alphabet: words are bytes then, in no spelling.
  bool byte_level() const { return byte_stage_.has_value(); }

  Workspace make_workspace() const;

  // `text` is valid UTF-8; `at_start`: nothing stands before it. Emitted
  // pieces live until the callback returns.
  void split(std::string_view text, bool at_start, Workspace& workspace,
             const Emit& emit) const;

  // One line per stage; equal descriptions split equally.
  std::string description() const;

 private:
  enum class Kind { kSplit, kPrefixSpace, kMetaspace, kByteAlphabet };
  struct Stage {
    Kind kind;
    size_t pattern = 0;  // index into patterns_
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    std::string mark;
    Prepend prepend = Prepend::kNever;
    bool split = false;
  };
  struct Piece {
    std::string_view text;
    bool at_start;
  };
  void run_stage(size_t stage, Piece piece, Workspace& workspace,
                 const Emit& emit) const;
  void run_split(size_t stage, Piece piece, Workspace& workspace,
                 const Emit& emit) const;
  void run_prefix_space(size_t stage, Piece piece, Workspace& workspace,
                        const Emit& emit) const;
  void run_metaspace(size_t stage, Piece piece, Workspace& workspace,
                     const Emit& emit) const;
  bool spells_bytes() const;

  std::vector<SplitPattern> patterns_;
  std::vector<Stage> stages_;
  std::optional<size_t> byte_stage_;
};

}  // namespace annuli

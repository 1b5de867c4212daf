#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/tokenizer/split_pattern.h"

// Cuts text into the words that byte-pair merges never cross: a chain of
// stages, each applied to every piece of the stage before.
//
// Immutable once built; `split` needs a workspace, one per thread.
namespace annuli {

class PreTokenizer {
 public:
  using Workspace = std::vector<SplitPattern::Workspace>;
  using Emit = std::function<void(std::string_view)>;

  // GPT-2's, "ByteLevel" with use_regex in tokenizer.json.
  static const char* const kGpt2Pattern;

  void add_split(std::string pattern);
  // From here on a piece that does not start with a space gets one.
  void add_prefix_space();

  Workspace make_workspace() const;

  // `text` is valid UTF-8. Emitted pieces live until the callback returns.
  void split(std::string_view text, Workspace& workspace,
             const Emit& emit) const;

  // One line per stage; equal descriptions split equally.
  std::string description() const;

 private:
  struct Stage {
    int pattern;  // index into patterns_, or -1: prefix a space
  };
  void run_stage(size_t stage, std::string_view piece, Workspace& workspace,
                 const Emit& emit) const;

  std::vector<SplitPattern> patterns_;
  std::vector<Stage> stages_;
};

}  // namespace annuli

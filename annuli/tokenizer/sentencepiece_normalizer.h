#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "annuli/tokenizer/piece_trie.h"
#include "annuli/tokenizer/precompiled.h"
#include "annuli/tokenizer/sentencepiece_file.h"

namespace annuli {

// A text as SentencePiece sees it before it looks for pieces: the longest rule
// at each place, a space in front, runs of spaces made one, spaces spelled as
// U+2581; each of these where the model's file says so. A user-defined symbol
// stands as it is. A byte that belongs to no character becomes U+FFFD.
//
// Immutable after construction.
class SentencePieceNormalizer {
 public:
  // Keeps a pointer to `symbols`, the user-defined ones. Refuses damaged rules
  // (UserError).
  SentencePieceNormalizer(const SentencePieceModel& model,
                          const PieceTrie& symbols);

  void append(std::string_view text, std::string& out) const;

  // How a space is spelled in the result.
  std::string_view space() const { return space_; }

 private:
  struct Step {
    std::string_view text;
    size_t consumed;
  };
  Step step(std::string_view text) const;
  size_t plain_length(std::string_view text) const;
  std::string_view without_heading_spaces(std::string_view text) const;
  void append_body(std::string_view text, std::string& out) const;

  const PieceTrie& symbols_;
  std::optional<CharsMap> map_;
  std::array<bool, 256> plain_{};  // ASCII that nothing changes
  std::string_view space_;
  bool prefix_;
  bool suffix_;
  bool remove_extra_;
};

}  // namespace annuli

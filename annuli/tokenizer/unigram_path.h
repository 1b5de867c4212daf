#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "annuli/tokenizer/piece_trie.h"

// The best way to cut a text into pieces with scores: Viterbi over byte
// positions, as both SentencePiece and Python's `tokenizers` do it; of equal
// sums the longer last piece stays. They differ in the type `Stored` of the
// sums (float, double), which decides near ties, and in what they do about a
// long text: SentencePiece (since 0.2.3) starts its sums anew where they fall
// below -100000, `tokenizers` does not.
namespace annuli {

template <typename Stored>
class UnigramPath {
 public:
  static constexpr int32_t kUnknown = -1;
  static constexpr float kLowest = -100000;

  struct Piece {
    size_t begin;
    size_t end;
    int32_t id;  // or kUnknown: one character that no piece is
  };

  // The pieces of `text`, in order; valid until the next call. `scores` is by
  // id. `start` is the sum before the text; the sum after it is `total`.
  const std::vector<Piece>& best(std::string_view text, const PieceTrie& trie,
                                 const std::vector<Stored>& scores,
                                 Stored unknown_score, Stored start) {
    ends_.assign(text.size() + 1, {});
    ends_[0].score = start;
    reached_ = 0;
    for (size_t at = 0; at < text.size();) {
      at += extend(text, at, trie, scores, unknown_score);
    }
    pieces_.clear();
    for (size_t end = text.size(); end > 0; end = ends_[end].begin) {
      pieces_.push_back(
          {static_cast<size_t>(ends_[end].begin), end, ends_[end].id});
    }
    std::reverse(pieces_.begin(), pieces_.end());
    return pieces_;
  }

  Stored total() const { return ends_.back().score; }

 private:
  struct End {
    int64_t begin = -1;  // of the last piece; -1: not reached
    Stored score = 0;
    int32_t id = kUnknown;

    void offer(Stored candidate, size_t from, int32_t piece) {
      if (begin >= 0 && !(candidate > score)) return;
      begin = static_cast<int64_t>(from);
      score = candidate;
      id = piece;
    }
  };

  // Bytes of the character at `text[at]`, by its first byte alone.
  static size_t character_length(std::string_view text, size_t at) {
    static constexpr uint8_t kLength[] = {1, 1, 1, 1, 1, 1, 1, 1,
                                          1, 1, 1, 1, 2, 2, 3, 4};
    const size_t length = kLength[static_cast<unsigned char>(text[at]) >> 4];
    return std::min(length, text.size() - at);
  }

  void start_anew(size_t at) {
    const Stored here = ends_[at].score;
    if (here >= kLowest) return;
    for (size_t end = at; end <= reached_; ++end) ends_[end].score -= here;
  }

  size_t extend(std::string_view text, size_t at, const PieceTrie& trie,
                const std::vector<Stored>& scores, Stored unknown_score) {
    if constexpr (std::is_same_v<Stored, float>) start_anew(at);
    const Stored here = ends_[at].score;
    const size_t character = character_length(text, at);
    bool known = false;
    trie.for_each_prefix(text.substr(at), [&](size_t length, int32_t id) {
      ends_[at + length].offer(scores[id] + here, at, id);
      reached_ = std::max(reached_, at + length);
      known |= length == character;
    });
    if (!known) {
      reached_ = std::max(reached_, at + character);
      ends_[at + character].offer(unknown_score + here, at, kUnknown);
    }
    return character;
  }

  std::vector<End> ends_;
  size_t reached_ = 0;  // the last end that has a piece
  std::vector<Piece> pieces_;
};

}  // namespace annuli

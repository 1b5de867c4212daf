#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// SentencePiece's normalization rules in their compiled form: a double-array
// trie (Darts) from what stands in a text to what replaces it.
//
//   4 bytes   the trie's size in bytes
//   the trie  units of 4 bytes
//   the rest  replacements, each ended by a zero byte
//
// SentencePiece and Python's `tokenizers` apply the same rules in two ways,
// and a vocabulary was trained on one of them: each file is read as by its own
// library. Both classes are immutable after construction.
namespace annuli {

class CharsMap {
 public:
  struct Match {
    size_t length = 0;  // bytes of the text that are replaced
    std::string_view replacement;
  };

  // Refuses (UserError) a blob whose sizes contradict each other, replacements
  // that are no UTF-8, and rules that point to none.
  explicit CharsMap(std::string_view blob);

  // The rule with the longest prefix of `text`, and with the shortest.
  std::optional<Match> longest(std::string_view text) const;
  std::optional<Match> shortest(std::string_view text) const;

  // Whether any rule starts with this byte.
  bool starts_rule(unsigned char byte) const { return starts_[byte]; }

 private:
  template <bool kLongest>
  std::optional<Match> search(std::string_view text) const;
  void check_leaves() const;
  void find_starts();

  std::vector<uint32_t> units_;
  std::string replacements_;
  std::array<bool, 256> starts_{};
};

// "Precompiled" of tokenizer.json: by grapheme clusters. One that is shorter
// than 6 bytes and starts with a rule becomes that rule's replacement, whole
// (the shortest rule, and what follows it is dropped); otherwise each of its
// characters is looked up. Clusters are those of PCRE2's Unicode tables (14 in
// Debian 12).
class PrecompiledNormalizer {
 public:
  // The blob itself: tokenizer.json has it in base64.
  explicit PrecompiledNormalizer(std::string_view charsmap);
  ~PrecompiledNormalizer();
  PrecompiledNormalizer(PrecompiledNormalizer&&) noexcept;

  // `text` is valid UTF-8.
  void append(std::string_view text, std::string& out) const;

 private:
  class Clusters;
  void append_cluster(std::string_view cluster, std::string& out) const;

  CharsMap map_;
  std::unique_ptr<Clusters> clusters_;
};

}  // namespace annuli

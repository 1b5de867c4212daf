#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "annuli/tokenizer/merge_table.h"
#include "annuli/tokenizer/token_model.h"

namespace annuli {

// What a BPE model is made from beside its vocabulary, as its files spell it.
struct BpeDefinition {
  bool byte_level = true;  // words are bytes, tokens spell them
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  bool ignore_merges = false;  // a word that is a token is that token
  bool byte_fallback = false;  // a character without a token: tokens `<0x0A>`
  std::optional<std::string> unk_token;   // and then this one
  bool fuse_unk = false;                  // one for several in a row
  std::string continuing_subword_prefix;  // of characters that are not first
  std::string end_of_word_suffix;         // of the last one
};

// Byte-pair encoding of bytes (GPT-2, Llama 3, Qwen, SmolLM2) or of characters
// (Llama 2, Mistral, Gemma): a word becomes its smallest tokens, and these
// merge in the order of their ranks.
//
// A byte or character that has no token becomes byte tokens, or the unknown
// token, or is left out (dropped_bytes), in this order, as in the Python
// `tokenizers` package.
//
// A word may be a whole document (Llama 2 has no pre-tokenizer). It is cut
// where no merge can join what stands on the two sides, which changes no id and
// lets pieces be remembered.
class BpeModel final : public TokenModel {
 public:
  // `source` names the file for messages. Refuses (UserError): merges of or
  // into unknown tokens, tokens given twice, a byte-level vocabulary that has
  // no byte.
  BpeModel(std::string source, const Vocabulary& vocabulary,
           BpeDefinition definition);

  const BpeDefinition& definition() const { return definition_; }

  std::unique_ptr<Workspace> make_workspace() const override;
  void append_ids(std::string_view word, Workspace& workspace,
                  std::vector<int32_t>& ids) const override;
  void append_invalid(std::string_view bytes, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string kind() const override;
  void describe(const Write& write) const override;
  bool whole_words() const override { return definition_.ignore_merges; }
  std::string options() const override;
  std::vector<std::string> notices() const override;

 private:
  struct Scratch;
  struct Unknown;
  struct Mark {  // a space or "▁"
    std::string text;
    int32_t id;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Ids = std::unordered_map<std::string, int32_t, Hash, std::equal_to<>>;

  void append_word(std::string_view word, Scratch& scratch,
                   std::vector<int32_t>& ids) const;
  void merge_word(std::string_view word, Scratch& scratch) const;
  bool add_bytes(std::string_view word, std::vector<int32_t>& symbols) const;
  int64_t add_characters(std::string_view word,
                         std::vector<int32_t>& symbols) const;
  int64_t add_character(std::string_view spelled, size_t bytes,
                        Unknown& unknown, std::vector<int32_t>& symbols) const;
  bool add_byte_tokens(std::string_view bytes,
                       std::vector<int32_t>& symbols) const;
  void merge(Scratch& scratch) const;
  size_t piece_end(std::string_view word, size_t begin) const;
  bool cuts_at(std::string_view word, size_t at, const Mark& mark) const;
  int32_t id_of(std::string_view spelled) const;
  int32_t unknown_id() const;

  void add_vocabulary(const Vocabulary& vocabulary);  // bpe_build.cpp
  void add_merges();
  void add_joins();
  void add_marks();
  bool has_byte_tokens() const;
  std::vector<int32_t> missing_bytes() const;

  std::string source_;
  BpeDefinition definition_;
  Ids spelling_;
  Ids whole_words_;
  std::array<int32_t, 256> byte_ids_{};     // -1: none
  std::array<int32_t, 256> byte_tokens_{};  // of `<0x0A>`
  std::vector<int32_t> character_ids_;      // of the first 65536
  int32_t unknown_id_ = -1;
  MergeTable merges_;
  // Pairs of characters (their tokens) that some merge joins, and the marks
  // before which words are cut where nothing joins. No marks: never cut.
  MergeTable joins_;
  std::vector<Mark> marks_;
  bool may_drop_ = false;
};

}  // namespace annuli

#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "annuli/tokenizer/added_tokens.h"
#include "annuli/tokenizer/merge_table.h"
#include "annuli/tokenizer/pre_tokenizer.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {

// What a byte-level BPE tokenizer is made from, as its files spell it.
struct BpeDefinition {
  std::string source;  // the file or folder, for messages
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // byte alphabet
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::vector<AddedToken> added_tokens;                     // plain text
  PreTokenizer pre_tokenizer;
  bool normalize_nfc = false;
  bool ignore_merges = false;  // a word that is a token is that token
};

// Byte-level byte-pair encoding: GPT-2, Llama 3, Qwen, SmolLM2.
//
// A text goes through: added tokens, NFC where asked, added tokens that are
// matched after it, split patterns, merges within each word. Every byte has a
// token, so there is no unknown token.
//
// State beside the definition: a pool of scratch spaces (word caches, match
// data), one lent to each call of encode, so that calls may run at once.
class BpeTokenizer final : public Tokenizer {
 public:
  // Refuses (UserError): a byte without a token, ids that are negative, given
  // twice or above 4194303, merges of or into unknown tokens, added tokens
  // that are empty or contradict the vocabulary.
  explicit BpeTokenizer(BpeDefinition definition);
  ~BpeTokenizer() override;
  BpeTokenizer(const BpeTokenizer&) = delete;
  BpeTokenizer& operator=(const BpeTokenizer&) = delete;

  std::string_view token_bytes(int32_t id) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  int64_t vocab_size() const override {
    return static_cast<int64_t>(tokens_.size());
  }
  std::optional<int32_t> end_of_text() const override { return end_of_text_; }
  const std::string& hash() const override { return hash_; }
  const std::string& name() const override { return name_; }

 private:
  struct Scratch;
  class Loan;

  void append_ids(std::string_view text, EncodeOptions options,
                  std::vector<int32_t>& ids) const override;
  void append_plain(std::string_view text, EncodeOptions options,
                    Scratch& scratch, std::vector<int32_t>& ids) const;
  void append_valid(std::string_view text, Scratch& scratch,
                    std::vector<int32_t>& ids) const;
  void append_word(std::string_view word, Scratch& scratch,
                   std::vector<int32_t>& ids) const;

  using Spelling = std::unordered_map<std::string, int32_t>;
  void build(BpeDefinition definition);  // this and below: bpe_build.cpp
  Spelling add_vocabulary(const BpeDefinition& definition);
  void add_merges(const BpeDefinition& definition, const Spelling& spelling);
  void add_added_tokens(const BpeDefinition& definition,
                        const Spelling& spelling);
  void add_token(int32_t id, std::string bytes, const std::string& spelled);
  void find_end_of_text(const BpeDefinition& definition);
  std::string hash_of(const BpeDefinition& definition,
                      const Spelling& spelling) const;

  std::string name_;
  std::vector<std::string> tokens_;  // by id; empty: no such id
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<std::string_view, int32_t> whole_words_;
  std::vector<int32_t> byte_ids_;  // 256
  MergeTable merges_;
  AddedTokenMatcher added_;
  AddedTokenMatcher added_normalized_;
  PreTokenizer pre_tokenizer_;
  bool normalize_nfc_;
  std::optional<int32_t> end_of_text_;
  std::string hash_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace annuli

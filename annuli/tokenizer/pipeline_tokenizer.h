#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/tokenizer/added_tokens.h"
#include "annuli/tokenizer/normalizer.h"
#include "annuli/tokenizer/pre_tokenizer.h"
#include "annuli/tokenizer/scratch_pool.h"
#include "annuli/tokenizer/token_decoder.h"
#include "annuli/tokenizer/token_model.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {

// What a tokenizer is made from, part by part, as tokenizer.json has them.
struct TokenizerDefinition {
  std::string source;  // the file or folder, for messages
  Vocabulary vocabulary;
  std::vector<AddedToken> added_tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<TokenModel> model;  // of this vocabulary
  TokenDecoder decoder;               // not asked where words are bytes
  std::vector<int32_t> begin_ids;
  std::vector<int32_t> end_ids;
};

// A text goes through: added tokens; the normalizer; added tokens that are
// matched after it; the pre-tokenizer, which cuts words; the model, which gives
// each word its ids. Back, each token is looked up and the decoder joins them.
//
// With byte-level words a token is bytes, and decoding is their concatenation.
//
// State beside the definition: a pool of scratch spaces (word caches, match
// data), one lent to each call of encode, so that calls may run at once, and
// the count of dropped bytes.
class PipelineTokenizer final : public Tokenizer {
 public:
  // Refuses (UserError): ids that are negative, given twice or above 4194303,
  // tokens and added tokens that are empty, added tokens that contradict the
  // vocabulary.
  explicit PipelineTokenizer(TokenizerDefinition definition);
  ~PipelineTokenizer() override;
  PipelineTokenizer(const PipelineTokenizer&) = delete;
  PipelineTokenizer& operator=(const PipelineTokenizer&) = delete;

  const TokenModel& model() const { return *parts_.model; }

  std::string_view token_bytes(int32_t id) const override;
  bool has_token(int32_t id) const override {
    return Tokenizer::has_token(id) && !tokens_[id].empty();
  }
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::unique_ptr<TextStream> stream(bool at_start) const override;
  int64_t vocab_size() const override {
    return static_cast<int64_t>(tokens_.size());
  }
  std::optional<int32_t> end_of_text() const override { return end_of_text_; }
  std::span<const int32_t> begin_ids() const override { return begin_ids_; }
  std::span<const int32_t> end_ids() const override { return end_ids_; }
  std::vector<std::string> special_tokens() const override { return special_; }
  const std::string& hash() const override { return hash_; }
  const std::string& name() const override { return name_; }
  std::vector<std::string> notices() const override;
  int64_t dropped_bytes() const override { return dropped_bytes_; }

 private:
  struct Scratch;
  class Stream;
  struct Stretch;  // of text, between added tokens

  void append_ids(std::string_view text, EncodeOptions options,
                  std::vector<int32_t>& ids) const override;
  void append_plain(Stretch stretch, EncodeOptions options, Scratch& scratch,
                    std::vector<int32_t>& ids) const;
  void append_valid(Stretch stretch, EncodeOptions options, Scratch& scratch,
                    std::vector<int32_t>& ids) const;

  using Spelling = std::unordered_map<std::string_view, int32_t>;
  void build();  // this and below: pipeline_build.cpp
  void add_vocabulary();
  void add_added_tokens(const Spelling& spelling);
  void check_added_token(const AddedToken& token, const Spelling& spelling);
  void add_token(int32_t id, std::string token, const std::string& spelled);
  void show_normalized();
  void add_lookups();
  void find_end_of_text();
  std::string hash_of() const;

  std::string name_;
  TokenizerDefinition parts_;
  std::vector<std::string> tokens_;  // by id: bytes, or spelled; "": no such id
  std::vector<std::string> middle_;  // by id, where tokens_ are spelled
  std::unordered_map<std::string_view, int32_t> ids_;
  AddedTokenMatcher added_;
  AddedTokenMatcher added_normalized_;
  std::vector<std::string> special_;  // of added tokens
  std::optional<int32_t> end_of_text_;
  std::vector<int32_t> begin_ids_;
  std::vector<int32_t> end_ids_;
  std::string hash_;

  mutable std::atomic<int64_t> dropped_bytes_ = 0;
  mutable ScratchPool<Scratch> pool_;
};

}  // namespace annuli

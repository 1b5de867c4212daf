#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "annuli/tokenizer/merge_table.h"
#include "annuli/tokenizer/piece_trie.h"
#include "annuli/tokenizer/scratch_pool.h"
#include "annuli/tokenizer/sentencepiece_file.h"
#include "annuli/tokenizer/sentencepiece_normalizer.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {

// What files beside a tokenizer.model say of it.
struct SentencePieceSettings {
  // Whether Python's add_special_tokens puts the begin symbol before a text
  // and the end symbol behind it. Llama's and Mistral's class begin and do not
  // end; tokenizer_config.json says otherwise (add_bos_token, add_eos_token).
  bool begin = true;
  bool end = false;
  std::vector<std::string> notices;  // what is not read, one line each

  static SentencePieceSettings beside(const std::filesystem::path& model);
};

// A SentencePiece model, BPE or Unigram: Llama 2, TinyLlama, Mistral v1 to v7,
// Gemma. Ids are those of the library's Encode for any bytes; a byte that
// belongs to no character counts as U+FFFD, as there. As there, control symbols
// are never found in text, and user-defined ones always are, so that
// EncodeOptions change nothing. Text of ids is that of the library's Decode: a
// control symbol shows nothing, the space in front is taken away again, bytes
// that are no character together are U+FFFD each.
//
// Unigram sums scores in single precision over the whole text, as the library
// does (0.2.3 of PyPI); BPE's merges never cross a place where no piece has its
// two characters side by side, so that words can be kept.
//
// State beside the model: a pool of scratch spaces.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  // Refuses (UserError) what the library refuses (no pieces, no unknown piece
  // or two, a piece given twice, byte pieces without byte fallback and the
  // reverse), models of words or characters, unused pieces of a BPE model,
  // denormalizers, and scores that are no numbers.
  SentencePieceTokenizer(SentencePieceModel model,
                         SentencePieceSettings settings);
  ~SentencePieceTokenizer() override;
  SentencePieceTokenizer(const SentencePieceTokenizer&) = delete;
  SentencePieceTokenizer& operator=(const SentencePieceTokenizer&) = delete;

  std::string_view token_bytes(int32_t id) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::unique_ptr<TextStream> stream(bool at_start) const override;
  int64_t vocab_size() const override {
    return static_cast<int64_t>(model_.pieces.size());
  }
  std::optional<int32_t> end_of_text() const override { return end_id_; }
  std::span<const int32_t> begin_ids() const override { return begin_ids_; }
  std::span<const int32_t> end_ids() const override { return end_ids_; }
  const std::string& hash() const override { return hash_; }
  const std::string& name() const override { return model_.source; }
  std::vector<std::string> notices() const override {
    return settings_.notices;
  }

 private:
  using Type = SentencePieceModel::Type;
  enum class Cut { kNowhere, kBeforeSpaces, kAfterSpaces };
  struct Scratch;
  class Stream;

  void append_ids(std::string_view text, EncodeOptions options,
                  std::vector<int32_t>& ids) const override;
  int32_t space_symbol() const;  // -1: no piece has a space
  size_t chunk_end(std::string_view text, size_t at) const;
  void append_best_path(std::string_view chunk, Scratch& scratch,
                        std::vector<int32_t>& ids) const;
  void append_word(std::string_view word, Scratch& scratch,
                   std::vector<int32_t>& ids) const;
  void merge_word(std::string_view word, Scratch& scratch) const;
  void merge_stretch(std::string_view text, Scratch& scratch) const;
  void append_piece(int32_t id, std::string_view text,
                    std::vector<int32_t>& ids) const;

  // This and below: sentencepiece_build.cpp.
  static PieceTrie user_defined(const SentencePieceModel& model);
  void build();
  void build_pieces();
  void add_piece(int32_t id);
  void build_symbols();
  void build_scores();
  void build_merges();
  void find_cut();
  void build_text();
  void find_borders();
  std::optional<int32_t> control_id(const std::string& piece) const;
  std::string make_hash() const;

  SentencePieceModel model_;
  SentencePieceSettings settings_;
  std::unordered_map<std::string_view, int32_t> found_;     // in text
  std::unordered_map<std::string_view, int32_t> reserved_;  // never in text
  int32_t unknown_id_ = -1;
  std::array<int32_t, 256> byte_ids_{};
  PieceTrie symbols_;  // user-defined
  SentencePieceNormalizer normalizer_;
  Cut cut_ = Cut::kNowhere;

  PieceTrie trie_;             // Unigram: all that can be found
  std::vector<float> scores_;  // by id
  float unknown_score_ = 0;

  // BPE. A symbol is the id of a piece; above those, a character that occurs
  // only within pieces; above those, one that occurs nowhere, of 1 to 4 bytes.
  std::unordered_map<std::string_view, int32_t> characters_;
  std::vector<uint32_t> symbol_lengths_;
  int32_t nowhere_ = 0;
  MergeTable merges_{0};

  std::vector<std::string> text_;  // what an id shows in the middle of a text
  std::unordered_map<std::string_view, int32_t> ids_of_text_;
  std::optional<int32_t> end_id_;
  std::vector<int32_t> begin_ids_;
  std::vector<int32_t> end_ids_;
  std::string hash_;

  mutable ScratchPool<Scratch> pool_;
};

}  // namespace annuli

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "annuli/tokenizer/piece_trie.h"
#include "annuli/tokenizer/token_model.h"
#include "annuli/tokenizer/unigram_path.h"

namespace annuli {

// What a Unigram model of tokenizer.json is made from.
struct UnigramDefinition {
  std::string source;                                  // the file, for messages
  std::vector<std::pair<std::string, double>> pieces;  // by id: text, score
  std::optional<int32_t> unknown_id;
  bool byte_fallback = false;
};

// The Unigram model as Python's `tokenizers` computes it: of all ways to cut a
// word into pieces the one with the highest sum of scores, where a character
// without a piece costs 10 more than the least likely piece. Neighbours that
// are unknown become one token: a piece of that text if there is one, else its
// bytes (<0x0A>) where byte fallback is on and all have tokens, else the
// unknown token. Without one they are left out (dropped_bytes), where Python
// gives up.
class UnigramModel final : public TokenModel {
 public:
  // Refuses (UserError) an empty vocabulary, an unknown id outside of it, and
  // scores that are no numbers.
  explicit UnigramModel(UnigramDefinition definition);
  UnigramModel(const UnigramModel&) = delete;
  UnigramModel& operator=(const UnigramModel&) = delete;

  std::unique_ptr<Workspace> make_workspace() const override;
  void append_ids(std::string_view word, Workspace& workspace,
                  std::vector<int32_t>& ids) const override;
  void append_invalid(std::string_view bytes, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string kind() const override { return "annuli Unigram 1"; }
  void describe(const Write& write) const override;

 private:
  struct Scratch;

  int64_t append_best(std::string_view word, Scratch& scratch) const;
  int64_t append_unknown(std::string_view text,
                         std::vector<int32_t>& ids) const;
  bool append_bytes(std::string_view text, std::vector<int32_t>& ids) const;

  UnigramDefinition definition_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<int32_t> byte_ids_;  // 256; -1: no such token
  PieceTrie trie_;
  std::vector<double> scores_;  // by id
  double unknown_score_ = 0;
};

}  // namespace annuli

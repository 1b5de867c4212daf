#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "annuli/tokenizer/merge_table.h"
#include "annuli/tokenizer/token_model.h"

namespace annuli {

// Byte-level BPE as tiktoken has it: no list of merges, a vocabulary by rank
// instead. A word that is a token is that token; otherwise its bytes merge, two
// neighbours whenever their bytes together are a token, lowest rank first.
class RankModel final : public TokenModel {
 public:
  // Each token's bytes and id, by rank. Refuses (UserError) tokens that are
  // empty or given twice, and a byte without a token. `notice`, if not empty,
  // is what a user should know; `source` names the file.
  RankModel(const std::string& source,
            std::vector<std::pair<std::string, int32_t>> tokens,
            std::string notice = "");

  std::unique_ptr<Workspace> make_workspace() const override;
  void append_ids(std::string_view word, Workspace& workspace,
                  std::vector<int32_t>& ids) const override;
  void append_invalid(std::string_view bytes, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string kind() const override { return "annuli BPE by rank 1"; }
  void describe(const Write& write) const override;
  std::vector<std::string> notices() const override;

 private:
  struct Scratch;

  std::string source_;
  std::vector<std::pair<std::string, int32_t>> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::array<int32_t, 256> byte_ids_{};
  MergeTable merges_;
  std::string notice_;
};

}  // namespace annuli

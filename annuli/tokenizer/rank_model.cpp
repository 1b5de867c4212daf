#include "annuli/tokenizer/rank_model.h"

#include "annuli/core/error.h"
#include "annuli/tokenizer/long_merger.h"
#include "annuli/tokenizer/token_merges.h"
#include "annuli/tokenizer/word_cache.h"

namespace annuli {

struct RankModel::Scratch final : TokenModel::Workspace {
  explicit Scratch(const MergeTable& merges) : merger(merges) {}

  WordCache cache;
  LongMerger merger;
  std::vector<int32_t> symbols;
};

RankModel::RankModel(const std::string& source,
                     std::vector<std::pair<std::string, int32_t>> tokens,
                     std::string notice)
    : source_(source),
      tokens_(std::move(tokens)),
      merges_(0),
      notice_(std::move(notice)) {
  std::vector<RankedToken> ranked;
  for (const auto& [bytes, id] : tokens_) {
    const auto rank = static_cast<int32_t>(ranked.size());
    if (bytes.empty() || !ids_.emplace(bytes, id).second) {
      user_error(
          "reading tokenizer {}: found the token of rank {} {}, expected "
          "bytes that no other token has",
          source, rank, bytes.empty() ? "empty" : "a second time");
    }
    ranked.push_back({bytes, rank, id});
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const auto found = ids_.find(std::string_view(&text, 1));
    if (found == ids_.end()) {
      user_error(
          "reading tokenizer {}: found no token for byte 0x{:02x}, expected "
          "one for each of the 256 bytes",
          source, byte);
    }
    byte_ids_[byte] = found->second;
  }
  merges_ = merges_of_tokens(ranked, ids_);
}

std::unique_ptr<TokenModel::Workspace> RankModel::make_workspace() const {
  return std::make_unique<Scratch>(merges_);
}

void RankModel::append_ids(std::string_view word, Workspace& workspace,
                           std::vector<int32_t>& ids) const {
  auto& scratch = static_cast<Scratch&>(workspace);
  scratch.cache.append(word, source_, scratch.symbols, ids, [&] {
    std::vector<int32_t>& symbols = scratch.symbols;
    const auto whole = ids_.find(word);
    if (whole != ids_.end()) {
      symbols.push_back(whole->second);
    } else {
      for (unsigned char byte : word) symbols.push_back(byte_ids_[byte]);
      scratch.merger.run(symbols);
    }
    return true;
  });
}

void RankModel::append_invalid(std::string_view bytes, Workspace& workspace,
                               std::vector<int32_t>& ids) const {
  append_ids(bytes, workspace, ids);
}

// The bytes of each id are hashed with the vocabulary.
void RankModel::describe(const Write& write) const {
  write(std::to_string(tokens_.size()));
  for (const auto& [bytes, id] : tokens_) write(std::to_string(id));
}

std::vector<std::string> RankModel::notices() const {
  if (notice_.empty()) return {};
  return {notice_};
}

}  // namespace annuli

#include "annuli/tokenizer/bpe_tokenizer.h"

#include <limits>

#include "annuli/core/error.h"
#include "annuli/tokenizer/nfc.h"
#include "annuli/tokenizer/utf8.h"
#include "annuli/tokenizer/word_cache.h"

namespace annuli {

struct BpeTokenizer::Scratch {
  explicit Scratch(const BpeTokenizer& tokenizer)
      : splits(tokenizer.pre_tokenizer_.make_workspace()),
        merger(tokenizer.merges_) {}

  PreTokenizer::Workspace splits;
  WordCache cache;
  PairMerger merger;
  std::vector<int32_t> symbols;
};

// A scratch space from the pool, given back at the end of the scope.
class BpeTokenizer::Loan {
 public:
  explicit Loan(const BpeTokenizer& tokenizer) : tokenizer_(tokenizer) {
    {
      std::lock_guard lock(tokenizer_.mutex_);
      if (!tokenizer_.idle_.empty()) {
        scratch_ = std::move(tokenizer_.idle_.back());
        tokenizer_.idle_.pop_back();
      }
    }
    if (!scratch_) scratch_ = std::make_unique<Scratch>(tokenizer_);
  }
  ~Loan() {
    std::lock_guard lock(tokenizer_.mutex_);
    tokenizer_.idle_.push_back(std::move(scratch_));
  }
  Scratch& scratch() { return *scratch_; }

 private:
  const BpeTokenizer& tokenizer_;
  std::unique_ptr<Scratch> scratch_;
};

BpeTokenizer::BpeTokenizer(BpeDefinition definition)
    : name_(definition.source),
      merges_(definition.merges.size()),
      normalize_nfc_(definition.normalize_nfc) {
  build(std::move(definition));
}

BpeTokenizer::~BpeTokenizer() = default;

std::string_view BpeTokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size() || tokens_[id].empty()) {
    user_error(
        "decoding with {}: found token id {}, expected one of its vocabulary "
        "of {}; were the ids made by another tokenizer?",
        name_, id, tokens_.size());
  }
  return tokens_[id];
}

std::optional<int32_t> BpeTokenizer::token_to_id(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

void BpeTokenizer::append_ids(std::string_view text, EncodeOptions options,
                              std::vector<int32_t>& ids) const {
  Loan loan(*this);
  Scratch& scratch = loan.scratch();
  added_.split(
      text, options.allow_special,
      [&](std::string_view plain) {
        append_plain(plain, options, scratch, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
}

// Valid stretches are normalized, searched and split; each invalid stretch is
// one word.
void BpeTokenizer::append_plain(std::string_view text, EncodeOptions options,
                                Scratch& scratch,
                                std::vector<int32_t>& ids) const {
  for (size_t at = 0; at < text.size();) {
    size_t end = valid_utf8_end(text, at);
    if (end > at) {
      std::string_view valid = text.substr(at, end - at);
      std::string normalized;
      if (normalize_nfc_ && !surely_nfc(valid)) {
        normalized = to_nfc(valid);
        valid = normalized;
      }
      added_normalized_.split(
          valid, options.allow_special,
          [&](std::string_view plain) { append_valid(plain, scratch, ids); },
          [&](int32_t id) { ids.push_back(id); });
    } else {
      end = invalid_utf8_end(text, at);
      append_word(text.substr(at, end - at), scratch, ids);
    }
    at = end;
  }
}

void BpeTokenizer::append_valid(std::string_view text, Scratch& scratch,
                                std::vector<int32_t>& ids) const {
  pre_tokenizer_.split(text, scratch.splits, [&](std::string_view word) {
    append_word(word, scratch, ids);
  });
}

void BpeTokenizer::append_word(std::string_view word, Scratch& scratch,
                               std::vector<int32_t>& ids) const {
  const bool cacheable = word.size() <= WordCache::kLongestWord;
  if (cacheable) {
    if (const auto known = scratch.cache.find(word)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
  }
  if (word.size() > size_t{std::numeric_limits<int32_t>::max()}) {
    user_error(
        "encoding with {}: found a word of {} bytes, expected less than 2 GiB "
        "without a place to split",
        name_, word.size());
  }
  std::vector<int32_t>& symbols = scratch.symbols;
  const auto whole = whole_words_.find(word);
  if (whole != whole_words_.end()) {
    symbols.assign(1, whole->second);
  } else {
    symbols.clear();
    for (unsigned char byte : word) symbols.push_back(byte_ids_[byte]);
    scratch.merger.run(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  if (cacheable) scratch.cache.insert(word, symbols);
}

}  // namespace annuli

#include "annuli/tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/tokenizer/long_merger.h"
#include "annuli/tokenizer/unigram_path.h"
#include "annuli/tokenizer/utf8.h"
#include "annuli/tokenizer/word_cache.h"

namespace annuli {
namespace {

constexpr const char* kReplacement = "\uFFFD";

}  // namespace

struct SentencePieceTokenizer::Scratch {
  explicit Scratch(const SentencePieceTokenizer& tokenizer)
      : merger(tokenizer.merges_, tokenizer.space_symbol()) {}

  std::string normalized;
  UnigramPath<float> path;
  float sum = 0;  // of the scores so far
  WordCache cache;
  LongMerger merger;
  std::vector<int32_t> symbols;
  std::vector<int32_t> word;  // its ids
};

// The library's Decode, id by id.
class SentencePieceTokenizer::Stream final : public TextStream {
 public:
  Stream(const SentencePieceTokenizer& tokenizer, bool at_start)
      : tokenizer_(tokenizer), at_start_(at_start) {}

  std::string add(int32_t id) override {
    const std::string_view text = tokenizer_.token_bytes(id);
    std::string out;
    if (type_of(id) == Type::kByte) {
      bytes_ += text;
      take_characters(out, false);
    } else {
      take_characters(out, true);
      if (stripped_ || shown_ || !out.empty()) at_start_ = false;
      out += at_start_ ? without_space(id, text) : text;
    }
    shown_ |= !out.empty();
    return out;
  }

  std::string finish() override {
    std::string out;
    take_characters(out, true);
    return out;
  }

 private:
  Type type_of(int32_t id) const { return tokenizer_.model_.pieces[id].type; }

  std::string_view without_space(int32_t id, std::string_view text) {
    const SentencePieceModel& model = tokenizer_.model_;
    const bool strips =
        model.add_dummy_prefix || model.remove_extra_whitespaces;
    const Type type = type_of(id);
    if (!strips || type == Type::kControl || type == Type::kUnknown ||
        !model.pieces[id].text.starts_with(kSentencePieceSpace)) {
      stripped_ = false;
      return text;
    }
    // Where extra spaces were removed all in front are taken away, else one.
    stripped_ = !model.remove_extra_whitespaces;
    return text.substr(1);
  }

  // Moves the characters that are certain from `bytes_` to `out`.
  void take_characters(std::string& out, bool all) {
    size_t at = 0;
    while (at < bytes_.size()) {
      const size_t length = utf8_length_at(bytes_, at);
      if (length == 0 && !all && bytes_.size() - at < expected_length(at))
        break;
      out += length == 0 ? kReplacement : bytes_.substr(at, length);
      at += std::max<size_t>(length, 1);
    }
    bytes_.erase(0, at);
  }

  size_t expected_length(size_t at) const {
    const auto first = static_cast<unsigned char>(bytes_[at]);
    return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  }

  const SentencePieceTokenizer& tokenizer_;
  bool at_start_;
  bool stripped_ = false;  // the last token lost the space in front
  bool shown_ = false;     // some text was given
  std::string bytes_;      // of byte pieces, no whole character yet
};

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model,
                                               SentencePieceSettings settings)
    : model_(std::move(model)),
      settings_(std::move(settings)),
      symbols_(user_defined(model_)),
      normalizer_(model_, symbols_) {
  build();
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::string_view SentencePieceTokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    user_error(
        "decoding with {}: found token id {}, expected one of its vocabulary "
        "of {}; were the ids made by another tokenizer?",
        name(), id, vocab_size());
  }
  return text_[id];
}

std::optional<int32_t> SentencePieceTokenizer::token_to_id(
    std::string_view token) const {
  const auto found = ids_of_text_.find(token);
  if (found == ids_of_text_.end()) return std::nullopt;
  return found->second;
}

std::unique_ptr<TextStream> SentencePieceTokenizer::stream(
    bool at_start) const {
  return std::make_unique<Stream>(*this, at_start);
}

void SentencePieceTokenizer::append_ids(std::string_view text, EncodeOptions,
                                        std::vector<int32_t>& ids) const {
  auto loan = pool_.borrow([&] { return std::make_unique<Scratch>(*this); });
  Scratch& scratch = *loan;
  scratch.normalized.clear();
  scratch.sum = 0;
  normalizer_.append(text, scratch.normalized);
  const std::string_view normalized = scratch.normalized;
  const bool unigram = model_.kind == SentencePieceModel::Kind::kUnigram;
  const auto before = static_cast<ptrdiff_t>(ids.size());
  for (size_t at = 0; at < normalized.size();) {
    const size_t end = chunk_end(normalized, at);
    const std::string_view chunk = normalized.substr(at, end - at);
    if (unigram) {
      append_best_path(chunk, scratch, ids);
    } else {
      append_word(chunk, scratch, ids);
    }
    at = end;
  }
  // Neighbours that are unknown are one token.
  const auto same = [&](int32_t a, int32_t b) {
    return a == unknown_id_ && b == unknown_id_;
  };
  ids.erase(std::unique(ids.begin() + before, ids.end(), same), ids.end());
}

int32_t SentencePieceTokenizer::space_symbol() const {
  const auto found = characters_.find(normalizer_.space());
  return found == characters_.end() ? -1 : found->second;
}

size_t SentencePieceTokenizer::chunk_end(std::string_view text,
                                         size_t at) const {
  const std::string_view space = normalizer_.space();
  const auto skip_spaces = [&](size_t from) {
    while (text.substr(from).starts_with(space)) from += space.size();
    return from;
  };
  if (cut_ == Cut::kNowhere) return text.size();
  const bool before = cut_ == Cut::kBeforeSpaces;
  const size_t found = text.find(space, before ? skip_spaces(at) : at);
  if (found == text.npos) return text.size();
  return before ? found : skip_spaces(found);
}

void SentencePieceTokenizer::append_piece(int32_t id, std::string_view text,
                                          std::vector<int32_t>& ids) const {
  if (id >= 0) {
    ids.push_back(id);
  } else if (model_.byte_fallback) {
    for (unsigned char byte : text) ids.push_back(byte_ids_[byte]);
  } else {
    ids.push_back(unknown_id_);
  }
}

void SentencePieceTokenizer::append_best_path(std::string_view chunk,
                                              Scratch& scratch,
                                              std::vector<int32_t>& ids) const {
  const auto& pieces =
      scratch.path.best(chunk, trie_, scores_, unknown_score_, scratch.sum);
  for (const auto& piece : pieces) {
    append_piece(piece.id, chunk.substr(piece.begin, piece.end - piece.begin),
                 ids);
  }
  scratch.sum = scratch.path.total();
}

void SentencePieceTokenizer::append_word(std::string_view word,
                                         Scratch& scratch,
                                         std::vector<int32_t>& ids) const {
  scratch.cache.append(word, name(), scratch.word, ids, [&] {
    merge_word(word, scratch);
    return true;
  });
}

// User-defined symbols stand alone; what lies between them is merged.
void SentencePieceTokenizer::merge_word(std::string_view word,
                                        Scratch& scratch) const {
  size_t begin = 0;
  for (size_t at = 0; at < word.size();) {
    const auto first = static_cast<unsigned char>(word[at]);
    const auto symbol = symbols_.starts_with(first)
                            ? symbols_.longest(word.substr(at))
                            : std::nullopt;
    if (!symbol) {
      at += utf8_length_at(word, at);
      continue;
    }
    merge_stretch(word.substr(begin, at - begin), scratch);
    scratch.word.push_back(symbol->second);
    at += symbol->first;
    begin = at;
  }
  merge_stretch(word.substr(begin), scratch);
}

void SentencePieceTokenizer::merge_stretch(std::string_view text,
                                           Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.symbols;
  symbols.clear();
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length_at(text, at);
    const auto found = characters_.find(text.substr(at, length));
    symbols.push_back(found == characters_.end()
                          ? nowhere_ + static_cast<int32_t>(length) - 1
                          : found->second);
    at += length;
  }
  scratch.merger.run(symbols);
  size_t at = 0;
  for (int32_t symbol : symbols) {
    const size_t length = symbol_lengths_[symbol];
    const int32_t id = symbol < vocab_size() ? symbol : -1;
    append_piece(id, text.substr(at, length), scratch.word);
    at += length;
  }
}

}  // namespace annuli

#include "annuli/tokenizer/sentencepiece_normalizer.h"

#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

}  // namespace

SentencePieceNormalizer::SentencePieceNormalizer(
    const SentencePieceModel& model, const PieceTrie& symbols)
    : symbols_(symbols),
      space_(model.escape_whitespaces ? kSentencePieceSpace : " "),
      prefix_(model.add_dummy_prefix && !model.whitespace_as_suffix),
      suffix_(model.add_dummy_prefix && model.whitespace_as_suffix),
      remove_extra_(model.remove_extra_whitespaces) {
  if (!model.charsmap.empty()) map_.emplace(model.charsmap);
  for (unsigned char byte = 1; byte < 0x80; ++byte) {
    const bool rule = map_ && map_->starts_rule(byte);
    plain_[byte] = byte != ' ' && !rule && !symbols_.starts_with(byte);
  }
}

SentencePieceNormalizer::Step SentencePieceNormalizer::step(
    std::string_view text) const {
  const auto first = static_cast<unsigned char>(text[0]);
  if (symbols_.starts_with(first)) {
    if (const auto symbol = symbols_.longest(text)) {
      return {text.substr(0, symbol->first), symbol->first};
    }
  }
  if (map_ && map_->starts_rule(first)) {
    if (const auto match = map_->longest(text)) {
      return {match->replacement, match->length};
    }
  }
  const size_t length = utf8_length_at(text, 0);
  if (length == 0) return {kReplacement, 1};
  return {text.substr(0, length), length};
}

size_t SentencePieceNormalizer::plain_length(std::string_view text) const {
  size_t length = 0;
  while (length < text.size() &&
         plain_[static_cast<unsigned char>(text[length])]) {
    ++length;
  }
  return length;
}

std::string_view SentencePieceNormalizer::without_heading_spaces(
    std::string_view text) const {
  while (!text.empty()) {
    const Step first = step(text);
    if (first.text != " ") break;
    text.remove_prefix(first.consumed);
  }
  return text;
}

void SentencePieceNormalizer::append(std::string_view text,
                                     std::string& out) const {
  if (remove_extra_) text = without_heading_spaces(text);
  if (text.empty()) return;
  const size_t before = out.size();
  if (prefix_) out += space_;
  append_body(text, out);
  if (remove_extra_) {
    while (std::string_view(out).substr(before).ends_with(space_)) {
      out.resize(out.size() - space_.size());
    }
  }
  if (suffix_) out += space_;
}

void SentencePieceNormalizer::append_body(std::string_view text,
                                          std::string& out) const {
  bool after_space = remove_extra_;
  while (!text.empty()) {
    if (const size_t plain = plain_length(text); plain > 0) {
      out += text.substr(0, plain);
      text.remove_prefix(plain);
      after_space = false;
      continue;
    }
    Step next = step(text);
    text.remove_prefix(next.consumed);
    while (after_space && next.text.starts_with(' ')) {
      next.text.remove_prefix(1);
    }
    for (char byte : next.text) {
      if (byte == ' ') {
        out += space_;
      } else {
        out += byte;
      }
    }
    if (!next.text.empty()) {
      after_space = remove_extra_ && next.text.ends_with(' ');
    }
  }
}

}  // namespace annuli

#include "annuli/tokenizer/characters.h"

#include <string>

#include "annuli/tokenizer/split_pattern.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

// Where the last character begins; the last byte if that is no character.
size_t last_character(std::string_view text) {
  for (size_t back = 1; back <= 4 && back <= text.size(); ++back) {
    const size_t at = text.size() - back;
    if (utf8_length_at(text, at) == back) return at;
  }
  return text.size() - 1;
}

}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word_character(char32_t c) {
  static const SplitPattern pattern(R"([\w\x{200c}\x{200d}])");
  std::string text;
  append_utf8(text, c);
  SplitPattern::Workspace workspace(pattern);
  bool word = false;
  pattern.find(text, workspace,
               [&](std::string_view, bool match) { word = match; });
  return word;
}

size_t spaces_at_start(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && utf8_length_at(text, at) > 0) {
    size_t next = at;
    if (!is_space(decode_utf8(text, next))) break;
    at = next;
  }
  return at;
}

size_t size_before_spaces(std::string_view text) {
  while (!text.empty()) {
    const size_t begin = last_character(text);
    size_t at = begin;
    if (utf8_length_at(text, at) == 0 || !is_space(decode_utf8(text, at)))
      break;
    text = text.substr(0, begin);
  }
  return text.size();
}

bool starts_with_word(std::string_view text) {
  size_t at = 0;
  return !text.empty() && utf8_length_at(text, 0) > 0 &&
         is_word_character(decode_utf8(text, at));
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  size_t at = last_character(text);
  return utf8_length_at(text, at) > 0 &&
         is_word_character(decode_utf8(text, at));
}

}  // namespace annuli

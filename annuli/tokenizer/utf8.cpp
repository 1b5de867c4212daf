#include "annuli/tokenizer/utf8.h"

#include <cstring>

namespace annuli {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080ull;

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// The second byte's range depends on the first: this is where overlong forms,
// surrogates and values above U+10FFFF are refused.
bool second_byte_fits(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return is_continuation(second);
  }
}

}  // namespace

size_t utf8_length_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return static_cast<unsigned char>(text[at + i]);
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  if (first >= 0xC2 && first <= 0xDF) length = 2;
  if (first >= 0xE0 && first <= 0xEF) length = 3;
  if (first >= 0xF0 && first <= 0xF4) length = 4;
  if (length == 0 || text.size() - at < length) return 0;
  if (!second_byte_fits(first, byte(1))) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (!is_continuation(byte(i))) return 0;
  }
  return length;
}

size_t valid_utf8_end(std::string_view text, size_t begin) {
  size_t at = begin;
  while (at < text.size()) {
    uint64_t eight = 0;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & kHighBits) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const size_t length = utf8_length_at(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

size_t invalid_utf8_end(std::string_view text, size_t begin) {
  size_t at = begin;
  while (at < text.size() && utf8_length_at(text, at) == 0) ++at;
  return at;
}

char32_t decode_utf8(std::string_view text, size_t& at) {
  const size_t length = utf8_length_at(text, at);
  const auto first = static_cast<unsigned char>(text[at]);
  static constexpr unsigned char kMask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  char32_t character = first & kMask[length];
  for (size_t i = 1; i < length; ++i) {
    character = (character << 6) | (text[at + i] & 0x3F);
  }
  at += length;
  return character;
}

void append_utf8(std::string& text, char32_t character) {
  const auto tail = [&](int shift) {
    text += static_cast<char>(0x80 | ((character >> shift) & 0x3F));
  };
  if (character < 0x80) {
    text += static_cast<char>(character);
  } else if (character < 0x800) {
    text += static_cast<char>(0xC0 | (character >> 6));
    tail(0);
  } else if (character < 0x10000) {
    text += static_cast<char>(0xE0 | (character >> 12));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0 | (character >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace annuli

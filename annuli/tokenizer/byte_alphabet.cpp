#include "annuli/tokenizer/byte_alphabet.h"

#include <array>

#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

constexpr int kCharacters = 256 + 68;

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int, kCharacters> byte{};

  Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      character[b] = stands_for_itself(b) ? b : next++;
      byte[character[b]] = b;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string spell_byte(unsigned char byte) {
  std::string text;
  append_utf8(text, alphabet().character[byte]);
  return text;
}

std::string spell_bytes(std::string_view bytes) {
  std::string text;
  for (unsigned char byte : bytes) text += spell_byte(byte);
  return text;
}

std::optional<std::string> bytes_of_spelling(std::string_view spelled) {
  std::string bytes;
  for (size_t at = 0; at < spelled.size();) {
    if (utf8_length_at(spelled, at) == 0) return std::nullopt;
    const char32_t character = decode_utf8(spelled, at);
    if (character >= kCharacters) return std::nullopt;
    const int byte = alphabet().byte[character];
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

}  // namespace annuli

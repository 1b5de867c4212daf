#include "annuli/cli/utf8_stream.h"

#include <algorithm>
#include <utility>

namespace annuli::cli {
namespace {

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Bytes of the character that `lead` begins; 1 if it begins none.
size_t length_from(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte >= 0xC2 && byte <= 0xDF) return 2;
  if (byte >= 0xE0 && byte <= 0xEF) return 3;
  if (byte >= 0xF0 && byte <= 0xF4) return 4;
  return 1;
}

// Bytes at the end of `text` that may still become a character.
size_t unfinished(std::string_view text) {
  const size_t reach = std::min<size_t>(text.size(), 3);
  for (size_t back = 1; back <= reach; ++back) {
    const char byte = text[text.size() - back];
    if (is_continuation(byte)) continue;
    return length_from(byte) > back ? back : 0;
  }
  return 0;
}

}  // namespace

std::string Utf8Stream::add(std::string_view bytes) {
  held_ += bytes;
  const size_t ready = held_.size() - unfinished(held_);
  std::string text = held_.substr(0, ready);
  held_.erase(0, ready);
  return text;
}

std::string Utf8Stream::rest() { return std::exchange(held_, {}); }

}  // namespace annuli::cli

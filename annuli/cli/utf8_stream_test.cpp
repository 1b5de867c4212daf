#include "annuli/cli/utf8_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace annuli::cli {
namespace {

// What comes out when the bytes come in one by one.
std::vector<std::string> byte_by_byte(const std::string& text) {
  Utf8Stream stream;
  std::vector<std::string> pieces;
  for (const char byte : text) {
    const std::string piece = stream.add({&byte, 1});
    if (!piece.empty()) pieces.push_back(piece);
  }
  if (const std::string rest = stream.rest(); !rest.empty()) {
    pieces.push_back(rest);
  }
  return pieces;
}

using Pieces = std::vector<std::string>;

TEST(Utf8Stream, CharactersOfEveryLengthComeOutWhole) {
  EXPECT_EQ(byte_by_byte("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82z"),
            (Pieces{"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x99\x82", "z"}));
}

TEST(Utf8Stream, AnUnfinishedCharacterIsHeldUntilTheEnd) {
  EXPECT_EQ(byte_by_byte("a\xF0\x9F\x99"), (Pieces{"a", "\xF0\x9F\x99"}));
}

TEST(Utf8Stream, BytesOfNoCharacterPassAtOnce) {
  EXPECT_EQ(byte_by_byte("\x80\xFF\xC0"
                         "a"),
            (Pieces{"\x80", "\xFF", "\xC0", "a"}));
}

TEST(Utf8Stream, AnInterruptedCharacterDoesNotHoldBackWhatFollows) {
  EXPECT_EQ(byte_by_byte("\xE2\x82"
                         "a"),
            (Pieces{"\xE2\x82"
                    "a"}));
  EXPECT_EQ(byte_by_byte("\xE2\xC3\xA9"), (Pieces{"\xE2", "\xC3\xA9"}));
}

TEST(Utf8Stream, LosesNoByte) {
  std::string all;
  for (int i = 0; i < 4096; ++i) {
    all += static_cast<char>((i * 2654435761u) >> 20);
  }
  std::string joined;
  for (const std::string& piece : byte_by_byte(all)) joined += piece;
  EXPECT_EQ(joined, all);
}

}  // namespace
}  // namespace annuli::cli

#include "annuli/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include "annuli/core/rng.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/word_cache.h"

namespace annuli {
namespace {

TEST(Utf8, EveryCharacterThereAndBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_EQ(utf8_length_at(text, 0), text.size());
    size_t at = 0;
    ASSERT_EQ(decode_utf8(text, at), c);
    ASSERT_EQ(at, text.size());
  }
}

TEST(Utf8, RefusesWhatRfc3629Refuses) {
  for (const char* bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x61",
        "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xE2\x82", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_EQ(utf8_length_at(bad, 0), 0u) << bad;
  }
}

TEST(Utf8, StretchesEndWhereValidityChanges) {
  const std::string text = "plain text \xC3\xA9\xFF\xE2\x82then";
  EXPECT_EQ(valid_utf8_end(text, 0), 13u);
  EXPECT_EQ(invalid_utf8_end(text, 13), 16u);
  EXPECT_EQ(valid_utf8_end(text, 16), text.size());
  EXPECT_EQ(valid_utf8_end(text, 13), 13u);
}

TEST(ByteAlphabet, EveryByteThereAndBack) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto spelled = spell_byte(static_cast<unsigned char>(byte));
    EXPECT_EQ(bytes_of_spelling(spelled), std::string(1, byte));
  }
  EXPECT_EQ(spell_byte(' '), "Ġ");
  EXPECT_EQ(spell_byte('A'), "A");
  EXPECT_EQ(bytes_of_spelling("a b"), std::nullopt);
  EXPECT_EQ(bytes_of_spelling("中"), std::nullopt);
}

TEST(WordCache, KeepsAnswersAcrossItsOwnRestarts) {
  WordCache cache;
  EXPECT_FALSE(cache.find("x").has_value());
  for (int32_t i = 0; i < 200000; ++i) {
    const std::string word = std::to_string(i);
    cache.insert(word, std::vector<int32_t>{i, -i});
    const auto found = cache.find(word);
    ASSERT_TRUE(found.has_value());
    ASSERT_EQ((*found)[0], i);
    ASSERT_EQ((*found)[1], -i);
  }
  EXPECT_FALSE(cache.find("-1").has_value());
}

}  // namespace
}  // namespace annuli

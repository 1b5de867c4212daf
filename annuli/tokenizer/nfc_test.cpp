#include "annuli/tokenizer/nfc.h"

#include <gtest/gtest.h>

#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

std::string utf8(std::u32string_view characters) {
  std::string text;
  for (char32_t c : characters) append_utf8(text, c);
  return text;
}

void expect_nfc(std::u32string_view from, std::u32string_view to) {
  EXPECT_EQ(to_form(utf8(from), NormalForm::kNfc), utf8(to));
  EXPECT_EQ(to_form(utf8(to), NormalForm::kNfc), utf8(to));
}

// Cases of UAX #15's own tables and of its test file's kinds.
TEST(Nfc, ComposesReordersAndKeeps) {
  expect_nfc(U"e\u0301", U"\u00e9");
  expect_nfc(U"\u212b", U"\u00c5");                // a singleton
  expect_nfc(U"\u1e9b\u0323", U"\u1e9b\u0323");    // stays: dot below blocked
  expect_nfc(U"q\u0307\u0323", U"q\u0323\u0307");  // reordered
  expect_nfc(U"a\u0307\u0323", U"\u1ea1\u0307");   // reordered, then joined
  expect_nfc(U"\u1100\u1161\u11a8", U"\uac01");    // Hangul
  expect_nfc(U"\uac00\u11a8", U"\uac01");
  expect_nfc(U"\u0915\u093c", U"\u0915\u093c");  // excluded from joining
  expect_nfc(U"\u0958", U"\u0915\u093c");
  expect_nfc(U"e\u0301\u0301", U"\u00e9\u0301");  // same class blocks
  expect_nfc(U"\u0301e", U"\u0301e");             // nothing to join to
  expect_nfc(U"", U"");
}

// The syllables lie one after the other: leads, of each the vowels, of each
// itself without a tail and with each of them.
TEST(Nfc, EveryHangulSyllableIsItsLettersAndBack) {
  char32_t syllable = 0xac00;
  for (char32_t lead = 0x1100; lead <= 0x1112; ++lead) {
    for (char32_t vowel = 0x1161; vowel <= 0x1175; ++vowel) {
      for (char32_t tail = 0x11a7; tail <= 0x11c2; ++tail, ++syllable) {
        const std::u32string one = {syllable};
        std::u32string letters = {lead, vowel};
        if (tail > 0x11a7) letters.push_back(tail);
        ASSERT_EQ(to_form(utf8(one), NormalForm::kNfd), utf8(letters));
        ASSERT_EQ(to_form(utf8(letters), NormalForm::kNfc), utf8(one));
      }
    }
  }
  EXPECT_EQ(syllable, char32_t{0xd7a4});
}

// Letters and syllables beside those that join.
TEST(Nfc, OtherHangulStaysApart) {
  for (const std::u32string_view text :
       {U"\u1113\u1161", U"\u10ff\u1161", U"\u1100\u1176", U"\u1100\u1160",
        U"\uac00\u11a7", U"\uac00\u11c3", U"\uac01\u11a8", U"\ud7a4\u11a8",
        U"\uabff\u11a8"}) {
    expect_nfc(text, text);
    EXPECT_EQ(to_form(utf8(text.substr(0, 1)), NormalForm::kNfc),
              utf8(text.substr(0, 1)));
  }
}

TEST(Nfc, SureOnlyWhereNothingCanChange) {
  EXPECT_TRUE(surely_in_form("plain", NormalForm::kNfc));
  EXPECT_TRUE(surely_in_form(utf8(U"\u00e9\u02ff"), NormalForm::kNfc));
  EXPECT_FALSE(surely_in_form(utf8(U"e\u0301"), NormalForm::kNfc));
  EXPECT_FALSE(surely_in_form(utf8(U"\u212b"), NormalForm::kNfc));
}

void expect_form(NormalForm form, std::u32string_view from,
                 std::u32string_view to) {
  EXPECT_EQ(to_form(utf8(from), form), utf8(to)) << name_of(form);
  EXPECT_EQ(to_form(utf8(to), form), utf8(to)) << name_of(form);
}

TEST(Nfc, TheOtherForms) {
  expect_form(NormalForm::kNfd, U"\u1ea1\u0307", U"a\u0323\u0307");
  expect_form(NormalForm::kNfd, U"\uac01 \ufb01", U"\u1100\u1161\u11a8 \ufb01");
  expect_form(NormalForm::kNfkd, U"\ufb01\u00e9\u2460", U"fie\u03011");
  expect_form(NormalForm::kNfkc, U"\uff21\u030a\u00a0", U"\u00c5 ");
  expect_form(NormalForm::kNfkc, U"\u3392", U"MHz");
}

TEST(Nfc, SureOfTheOtherFormsOnlyWhereNothingCanChange) {
  EXPECT_TRUE(surely_in_form(utf8(U"a\u00bf"), NormalForm::kNfd));
  EXPECT_FALSE(surely_in_form(utf8(U"\u00c0"), NormalForm::kNfd));
  EXPECT_TRUE(surely_in_form("a\x7f", NormalForm::kNfkc));
  EXPECT_FALSE(surely_in_form(utf8(U"\u00a0"), NormalForm::kNfkd));
}

}  // namespace
}  // namespace annuli

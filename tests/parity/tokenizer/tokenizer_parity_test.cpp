// Token for token against Python's `tokenizers`: every case that reference.py
// wrote. ANNULI_TOKENIZER_REFERENCE is its folder.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/tokenizer/utf8.h"
#include "tests/parity/tokenizer/reference_ids.h"

namespace annuli {
namespace {

const fs::path kReference = ANNULI_TOKENIZER_REFERENCE;

// What to show of a difference: its place and the tokens around it.
std::string first_difference(const Tokenizer& tokenizer,
                             const std::vector<int32_t>& ours,
                             const std::vector<int32_t>& theirs) {
  const auto at =
      std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end());
  const size_t index = at.first - ours.begin();
  const auto around = [&](const std::vector<int32_t>& ids) {
    std::string text;
    const size_t begin = index < 3 ? 0 : index - 3;
    for (size_t i = begin; i < std::min(index + 4, ids.size()); ++i) {
      text += fmt::format(" {}:", ids[i]);
      text +=
          ::testing::PrintToString(std::string(tokenizer.token_bytes(ids[i])));
    }
    return text;
  };
  return fmt::format("token {} of {} and {}:\n  ours  {}\n  theirs{}", index,
                     ours.size(), theirs.size(), around(ours), around(theirs));
}

// Whether bytes[at, cut] are the beginning of some character.
bool begins_character(const std::string& bytes, size_t at, size_t cut) {
  std::string whole = bytes.substr(at, cut - at + 1);
  while (whole.size() < 4) {
    whole += '\x80';
    if (utf8_length_at(whole, 0) == whole.size()) return true;
  }
  return false;
}

// As Python shows bytes that are not UTF-8: U+FFFD for each longest beginning
// of a character, and for each other byte.
std::string with_replacements(const std::string& bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = valid_utf8_end(bytes, at);
    text += bytes.substr(at, end - at);
    at = end;
    if (at == bytes.size()) break;
    text += "\uFFFD";
    size_t cut = at + 1;
    // A cut-off character: no valid one begins so, whatever follows.
    while (cut < bytes.size() && cut - at < 3 &&
           begins_character(bytes, at, cut)) {
      ++cut;
    }
    at = cut;
  }
  return text;
}

class TokenizerParity : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kReference / "manifest.json")) {
      GTEST_SKIP() << "no references in " << kReference
                   << "; run them first: ctest -R tokenizer_reference";
    }
    manifest_ = read_json(kReference / "manifest.json");
  }

  // Borders, and the text of the ids whole and one by one.
  void check_kind(const Json& one, const Tokenizer& tokenizer) const {
    const auto list = [](std::span<const int32_t> ids) {
      return std::vector<int32_t>(ids.begin(), ids.end());
    };
    EXPECT_EQ(list(tokenizer.begin_ids()), one["begin"]);
    EXPECT_EQ(list(tokenizer.end_ids()), one["end"]);
    const auto name = one["name"].get<std::string>();
    for (const std::string text_name : one["texts"]) {
      SCOPED_TRACE(name + ", decoded " + text_name);
      const auto ids =
          read_ids(kReference / "ids" / name / (text_name + ".i32"));
      const std::string text =
          read_file(kReference / "decoded" / name / (text_name + ".txt"));
      EXPECT_TRUE(with_replacements(tokenizer.decode(ids)) == text);
      EXPECT_TRUE(streamed(tokenizer, ids) == tokenizer.decode(ids));
    }
  }

  void check_case(const Json& one) const {
    const auto tokenizer =
        load_tokenizer(kReference / one["tokenizer"].get<std::string>());
    EXPECT_EQ(tokenizer->vocab_size(), one["vocab_size"].get<int64_t>());
    if (one.value("decoded", false)) check_kind(one, *tokenizer);
    const EncodeOptions options{one["allow_special"].get<bool>()};
    const auto name = one["name"].get<std::string>();
    for (const std::string text_name : one["texts"]) {
      SCOPED_TRACE(name + ", " + text_name);
      const std::string text =
          read_file(kReference / "texts" / (text_name + ".txt"));
      const auto theirs =
          read_ids(kReference / "ids" / name / (text_name + ".i32"));
      const auto ours = tokenizer->encode(text, options);
      EXPECT_TRUE(ours == theirs) << first_difference(*tokenizer, ours, theirs);
      if (one["lossless"].get<bool>()) {
        EXPECT_TRUE(tokenizer->decode(ours) == text);
      }
    }
  }

  Json manifest_;
};

TEST_F(TokenizerParity, EveryIdOfEveryCase) {
  ASSERT_GE(manifest_.size(), 86u);
  for (const Json& one : manifest_) check_case(one);
}

// The comparison can fail: the same text by another tokenizer's reference.
TEST_F(TokenizerParity, ControlAnotherTokenizerDiffers) {
  const auto tokenizer = load_tokenizer(kReference / "tokenizers/smollm2");
  const std::string text = read_file(kReference / "texts/scripts.txt");
  EXPECT_NE(tokenizer->encode(text),
            read_ids(kReference / "ids/o200k/scripts.i32"));
}

TEST_F(TokenizerParity, BothKindsOfFilesHaveOneHash) {
  const fs::path folder = kReference / "tokenizers";
  const auto pair = load_tokenizer(folder / "gpt2_pair");
  const auto json = load_tokenizer(folder / "gpt2_json/tokenizer.json");
  EXPECT_EQ(pair->hash(), json->hash());
  EXPECT_NE(pair->hash(), load_tokenizer(folder / "smollm2")->hash());
  EXPECT_EQ(pair->vocab_size(), 50257);
  EXPECT_EQ(pair->end_of_text(), 50256);
}

}  // namespace
}  // namespace annuli

// Token for token against Python's `tokenizers`: every case that reference.py
// wrote. ANNULI_TOKENIZER_REFERENCE is its folder.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {
namespace {

const fs::path kReference = ANNULI_TOKENIZER_REFERENCE;

std::vector<int32_t> read_ids(const fs::path& path) {
  const std::string bytes = read_file(path);
  std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
  std::copy_n(bytes.data(), ids.size() * sizeof(int32_t),
              reinterpret_cast<char*>(ids.data()));
  return ids;
}

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

class TokenizerParity : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kReference / "manifest.json")) {
      GTEST_SKIP() << "no references in " << kReference
                   << "; run them first: ctest -R tokenizer_reference";
    }
    manifest_ = read_json(kReference / "manifest.json");
  }

  void check_case(const Json& one) const {
    const auto tokenizer =
        load_tokenizer(kReference / one["tokenizer"].get<std::string>());
    EXPECT_EQ(tokenizer->vocab_size(), one["vocab_size"].get<int64_t>());
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
  ASSERT_GE(manifest_.size(), 16u);
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

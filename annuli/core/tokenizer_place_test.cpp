#include "annuli/core/tokenizer_place.h"

#include <gtest/gtest.h>

#include <fstream>

#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

class TokenizerPlace : public ::testing::Test {
 protected:
  void touch(const std::string& name) { std::ofstream(folder_ / name) << "x"; }
  std::string found() const {
    const auto path = tokenizer_in(folder_);
    if (!path) return "none";
    return *path == folder_ ? "folder" : path->filename().string();
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

// Each file that is added comes before those that were there.
TEST_F(TokenizerPlace, IsTheFirstKindThatIsThere) {
  EXPECT_EQ(found(), "none");
  touch("vocab.json");
  EXPECT_EQ(found(), "none");
  for (const auto& [added, expected] :
       std::vector<std::pair<const char*, const char*>>{
           {"merges.txt", "folder"},
           {"a.tiktoken", "a.tiktoken"},
           {"tekken_240718.json", "tekken_240718.json"},
           {"tekken_240911.json", "tekken_240911.json"},
           {"tekken.json", "tekken.json"},
           {"tokenizer.model.v7", "tokenizer.model.v7"},
           {"tokenizer.model.v3", "tokenizer.model.v7"},
           {"sentencepiece.bpe.model", "sentencepiece.bpe.model"},
           {"spiece.model", "spiece.model"},
           {"tokenizer.model", "tokenizer.model"},
           {"tokenizer.json", "tokenizer.json"}}) {
    touch(added);
    EXPECT_EQ(found(), expected);
  }
}

TEST_F(TokenizerPlace, IsNoFolderOfThatName) {
  fs::create_directories(folder_ / "tokenizer.json");
  EXPECT_EQ(found(), "none");
  EXPECT_EQ(tokenizer_in(folder_ / "missing"), std::nullopt);
}

}  // namespace
}  // namespace annuli

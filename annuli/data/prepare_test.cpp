#include "annuli/data/prepare.h"

#include <gmock/gmock.h>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// One id a byte, and an end-of-text id if asked for.
class FakeTokenizer : public Tokenizer {
 public:
  FakeTokenizer(const std::string& seed, std::optional<int32_t> end)
      : hash_(sha256_of(seed)), end_(end) {}

  std::string_view token_bytes(int32_t) const override { return ""; }
  std::optional<int32_t> token_to_id(std::string_view) const override {
    return std::nullopt;
  }
  int64_t vocab_size() const override { return 257; }
  std::optional<int32_t> end_of_text() const override { return end_; }
  const std::string& hash() const override { return hash_; }
  const std::string& name() const override { return hash_; }

 private:
  void append_ids(std::string_view text, EncodeOptions options,
                  std::vector<int32_t>& ids) const override {
    EXPECT_FALSE(options.allow_special);
    for (unsigned char c : text) ids.push_back(c);
  }

  std::string hash_;
  std::optional<int32_t> end_;
};

class PrepareTest : public DataTest {
 protected:
  PrepareStats prepare(const Tokenizer& tokenizer,
                       const std::vector<std::string>& inputs,
                       bool force = false) const {
    return prepare_tokens(inputs, tokenizer, output_,
                          {.force = force, .show_progress = false});
  }
  void SetUp() override {
    DataTest::SetUp();
    write("text/a.txt", "abc");
    write("text/b.jsonl", "{\"text\": \"de\"}\n{\"text\": \"\"}\n");
    write("text/c.txt", "");
    output_ = folder_ / "out" / "a.tokens";
    text_ = (folder_ / "text").string();
  }
  std::vector<int64_t> ids() const {
    const TokenFile file(output_);
    std::vector<int64_t> ids(static_cast<size_t>(file.token_count()));
    file.read(0, ids);
    return ids;
  }

  const FakeTokenizer plain_{"plain", std::nullopt};
  const FakeTokenizer ending_{"ending", 256};
  fs::path output_;
  std::string text_;
};

TEST_F(PrepareTest, DocumentsEndWithEndOfText) {
  const PrepareStats stats = prepare(ending_, {text_});
  EXPECT_EQ(stats.path, output_);
  EXPECT_EQ(stats.files, 3);
  EXPECT_EQ(stats.documents, 2);
  EXPECT_EQ(stats.tokens, 7);
  EXPECT_EQ(stats.text_bytes, 5);
  EXPECT_FALSE(stats.reused);
  EXPECT_THAT(ids(), testing::ElementsAre('a', 'b', 'c', 256, 'd', 'e', 256));
  const TokenFile file(output_);
  EXPECT_EQ(file.document_bytes(0), 3);
  EXPECT_EQ(file.document_bytes(1), 2);
  EXPECT_NO_THROW(file.require_tokenizer(257, ending_.hash()));
}

TEST_F(PrepareTest, WithoutEndOfTextNothingIsAdded) {
  EXPECT_EQ(prepare(plain_, {text_}).tokens, 5);
}

TEST_F(PrepareTest, ReusedWhileInputsAndTokenizerAreUnchanged) {
  prepare(plain_, {text_});
  const PrepareStats again = prepare(plain_, {text_});
  EXPECT_TRUE(again.reused);
  EXPECT_EQ(again.documents, 2);
  EXPECT_EQ(again.tokens, 5);
  EXPECT_EQ(again.text_bytes, 5);
  EXPECT_EQ(again.files, 3);
  EXPECT_FALSE(prepare(plain_, {text_}, true).reused);

  EXPECT_FALSE(prepare(ending_, {text_}).reused);
  EXPECT_TRUE(prepare(ending_, {text_}).reused);
  // The same in all but its hash.
  EXPECT_FALSE(prepare(FakeTokenizer("other", 256), {text_}).reused);
  EXPECT_FALSE(prepare(ending_, {text_}).reused);
  write("text/a.txt", "abd");
  EXPECT_FALSE(prepare(ending_, {text_}).reused);
  EXPECT_EQ(ids()[2], 'd');
  EXPECT_FALSE(prepare(ending_, {text_ + "/b.jsonl", text_}).reused);
  // The same bytes under another name are the same text.
  fs::rename(folder_ / "text/a.txt", folder_ / "text/A.txt");
  EXPECT_TRUE(prepare(ending_, {text_ + "/b.jsonl", text_}).reused);
}

TEST_F(PrepareTest, DamagedTokenFilesAreReplacedOtherFilesAreNot) {
  prepare(plain_, {text_});
  std::string bytes = read_file(output_);
  bytes.pop_back();
  write("out/a.tokens", bytes);
  EXPECT_FALSE(prepare(plain_, {text_}).reused);
  EXPECT_EQ(ids().size(), 5u);

  write("out/a.tokens", "my essay");
  EXPECT_THAT([&] { prepare(plain_, {text_}); },
              ThrowsMessage<UserError>(HasSubstr("choose another path")));
  EXPECT_EQ(read_file(output_), "my essay");
}

TEST_F(PrepareTest, FailuresLeaveNothingBehind) {
  const auto refused = [](const std::string& reason) {
    return ThrowsMessage<UserError>(HasSubstr(reason));
  };
  EXPECT_THAT([&] { prepare(plain_, {}); }, refused("no text is named"));
  EXPECT_THAT([&] { prepare(plain_, {text_ + "/c.txt"}); },
              refused("only empty documents"));
  write("text/b.jsonl", "{\"text\": \"de\"}\n{\"text\": \n");
  EXPECT_THAT([&] { prepare(plain_, {text_}); }, refused("b.jsonl line 2"));
  EXPECT_TRUE(fs::is_empty(output_.parent_path()));
}

TEST_F(PrepareTest, CacheFolderHoldsTextsSideBySide) {
  const auto prepare_in = [&](const Tokenizer& tokenizer,
                              const std::string& input) {
    return prepare_tokens_in(folder_ / "cache", {input}, tokenizer,
                             {.show_progress = false});
  };
  const PrepareStats first = prepare_in(plain_, text_);
  EXPECT_NE(prepare_in(ending_, text_).path, first.path);
  EXPECT_NE(prepare_in(plain_, text_ + "/a.txt").path, first.path);
  const PrepareStats again = prepare_in(plain_, text_);
  EXPECT_EQ(again.path, first.path);
  EXPECT_TRUE(again.reused);
}

}  // namespace
}  // namespace annuli::data

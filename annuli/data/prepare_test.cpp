#include "annuli/data/prepare.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

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

TEST_F(PrepareTest, BordersStandAroundEachDocumentAndAreRecorded) {
  const DocumentBorders both{.begin = {7, 8}, .end = {9}};
  const auto stats = prepare_tokens({text_}, plain_, output_,
                                    {.show_progress = false, .borders = both});
  EXPECT_EQ(stats.documents, 2);
  EXPECT_EQ(stats.tokens, 5 + 2 * 3);
  EXPECT_EQ(stats.text_bytes, 5);
  EXPECT_THAT(ids(),
              testing::ElementsAre(7, 8, 'a', 'b', 'c', 9, 7, 8, 'd', 'e', 9));
  const TokenFile file(output_);
  EXPECT_EQ(file.document_bytes(0), 3);
  EXPECT_EQ(file.borders(), (PutBorders{{7, 8}, {9}}));
  EXPECT_EQ(file.borders(), stats.borders);
  // One token for both parts documents once.
  const DocumentBorders one{.begin = {9}, .end = {9}};
  prepare_tokens({text_}, plain_, output_,
                 {.show_progress = false, .borders = one});
  EXPECT_THAT(ids(), testing::ElementsAre('a', 'b', 'c', 9, 'd', 'e', 9));
  EXPECT_EQ(TokenFile(output_).borders(), (PutBorders{{}, {9}}));
}

// The usual ones leave the file as it was before it could say so.
TEST_F(PrepareTest, UsualBordersAreNotRecorded) {
  prepare(ending_, {text_});
  const std::string bytes = read_file(output_);
  EXPECT_EQ(bytes.substr(168, 88), std::string(88, '\0'));
  EXPECT_EQ(TokenFile(output_).borders(), std::nullopt);
  const DocumentBorders usual{.end = {256}};
  EXPECT_TRUE(prepare_tokens({text_}, ending_, output_,
                             {.show_progress = false, .borders = usual})
                  .reused);
  // "none" where there is one is another file, and says so.
  const auto none =
      prepare_tokens({text_}, ending_, output_,
                     {.show_progress = false, .borders = DocumentBorders{}});
  EXPECT_FALSE(none.reused);
  EXPECT_EQ(none.tokens, 5);
  EXPECT_EQ(TokenFile(output_).borders(), PutBorders{});
}

TEST_F(PrepareTest, BordersAndSplittingAreInTheNameOfACachedFile) {
  std::set<fs::path> names;
  const auto add = [&](PrepareOptions options) {
    options.show_progress = false;
    names.insert(
        prepare_tokens_in(folder_ / "cache", {text_}, ending_, options).path);
  };
  add({});
  add({.borders = DocumentBorders{.end = {256}}});
  EXPECT_EQ(names.size(), 1u);
  add({.borders = DocumentBorders{}});
  add({.borders = DocumentBorders{.end = {255}}});
  add({.borders = DocumentBorders{.begin = {1}, .end = {256}}});
  add({.borders = DocumentBorders{.end = {1, 256}}});
  add({.split_at = "b"});
  add({.split_at = "c"});
  EXPECT_EQ(names.size(), 7u);
}

// Lines of a .txt, and texts of JSON lines.
TEST_F(PrepareTest, DocumentsEndWhereTheTextSpellsTheSeparator) {
  write("parted/a.txt", "one\n<e>\ntwo\n<e>\n<e>\nthree\n<e>\n");
  write("parted/b.jsonl", "{\"text\": \"x<e>y\"}\n{\"text\": \"<e>\\nz\"}\n");
  const auto stats =
      prepare_tokens({(folder_ / "parted").string()}, ending_, output_,
                     {.show_progress = false, .split_at = "<e>"});
  EXPECT_EQ(stats.documents, 6);  // empty ones are dropped
  EXPECT_EQ(stats.text_bytes, 4 + 4 + 6 + 3);
  EXPECT_EQ(std::ranges::count(ids(), 256), 6);
  EXPECT_EQ(std::ranges::count(ids(), '<'), 0);
}

TEST_F(PrepareTest, SpelledSpecialTokensAreCountedAndStayText) {
  class Special : public FakeTokenizer {
   public:
    Special() : FakeTokenizer("special", 256) {}
    std::vector<std::string> special_tokens() const override {
      return {"<s>", "<|e|>", "<pad>"};
    }
  };
  const Special tokenizer;
  write("s.txt", "a\n<|e|>\nb <s>\n<|e|>\n");
  const std::string text = (folder_ / "s.txt").string();
  const auto plain =
      prepare_tokens({text}, tokenizer, output_, {.show_progress = false});
  EXPECT_EQ(plain.documents, 1);
  EXPECT_EQ(plain.tokens, plain.text_bytes + 1);
  EXPECT_THAT(plain.notices, testing::ElementsAre(testing::AllOf(
                                 HasSubstr("in 3 places ('<|e|>' 2, '<s>' 1)"),
                                 HasSubstr("--split-at '<|e|>'"))));
  const auto parted =
      prepare_tokens({text}, tokenizer, output_,
                     {.show_progress = false, .split_at = "<|e|>"});
  EXPECT_EQ(parted.documents, 2);
  EXPECT_THAT(parted.notices,
              testing::ElementsAre(HasSubstr("in 1 places ('<s>' 1)")));
}

TEST_F(PrepareTest, TheColumnIsPartOfTheInputs) {
  const std::string file = write("a.jsonl", R"({"text": "a", "b": "cd"})");
  const auto tokens = [&](const std::string& column) {
    return prepare_tokens({file}, plain_, output_,
                          {.show_progress = false, .text = {.column = column}})
        .tokens;
  };
  EXPECT_EQ(tokens("text"), 1);
  EXPECT_EQ(tokens("b"), 2);
}

TEST_F(PrepareTest, NoticesSayWhatWasPassedOverAndTakenOff) {
  EXPECT_THAT(prepare(ending_, {text_}).notices, testing::IsEmpty());
  write("text/d.csv", "x");
  write("text/e.txt", "\xef\xbb\xbfx");
  const auto passed_over = HasSubstr("passed over: 1 .csv");
  EXPECT_THAT(prepare(ending_, {text_}).notices,
              testing::ElementsAre(passed_over, HasSubstr("taken off")));
  // A file that is reused has the same to say.
  EXPECT_THAT(prepare(ending_, {text_}).notices,
              testing::ElementsAre(passed_over, HasSubstr("taken off")));
}

TEST_F(PrepareTest, TheFilesThatHoldTheDocumentsDoNotCount) {
  prepare(plain_, {text_});
  const std::string lines = write("c/a.ndjson", R"({"text": "abc"}
{"id": 7, "text": "de"}
)");
  EXPECT_TRUE(prepare(plain_, {lines}).reused);
  write("c/a.ndjson", R"({"text": "abcde"})");
  EXPECT_FALSE(prepare(plain_, {lines}).reused);
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

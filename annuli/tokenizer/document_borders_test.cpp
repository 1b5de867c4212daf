#include "annuli/tokenizer/document_borders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/tokenizer/bytes_tokenizer.h"
#include "annuli/tokenizer/special_token_files.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"

namespace annuli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

// Around another: what its post-processor puts.
class WithBorders : public Tokenizer {
 public:
  WithBorders(std::unique_ptr<Tokenizer> inner, std::vector<int32_t> begin,
              std::vector<int32_t> end)
      : inner_(std::move(inner)), begin_(begin), end_(end) {}
  std::string_view token_bytes(int32_t id) const override {
    return inner_->token_bytes(id);
  }
  bool has_token(int32_t id) const override { return inner_->has_token(id); }
  std::optional<int32_t> token_to_id(std::string_view token) const override {
    return inner_->token_to_id(token);
  }
  int64_t vocab_size() const override { return inner_->vocab_size(); }
  std::optional<int32_t> end_of_text() const override {
    return inner_->end_of_text();
  }
  std::span<const int32_t> begin_ids() const override { return begin_; }
  std::span<const int32_t> end_ids() const override { return end_; }
  std::vector<std::string> special_tokens() const override {
    return inner_->special_tokens();
  }
  const std::string& hash() const override { return inner_->hash(); }
  const std::string& name() const override { return inner_->name(); }

 private:
  void append_ids(std::string_view text, EncodeOptions options,
                  std::vector<int32_t>& ids) const override {
    inner_->encode_append(text, ids, options);
  }
  std::unique_ptr<Tokenizer> inner_;
  std::vector<int32_t> begin_;
  std::vector<int32_t> end_;
};

// The tiny tokenizer and more special tokens, from 264 on: <b> <e> <turn>.
constexpr int32_t kBegin = 264;
constexpr int32_t kEnd = 265;
constexpr int32_t kTurn = 266;

class DocumentBordersTest : public testing::Test {
 protected:
  DocumentBordersTest() {
    Json json = tiny_tokenizer_json();
    int32_t id = kBegin;
    for (const char* text : {"<b>", "<e>", "<turn>"}) {
      json["added_tokens"].push_back(
          {{"id", id++}, {"content", text}, {"special", true}});
    }
    write("tokenizer.json", json);
  }

  void write(const std::string& name, const Json& json) {
    folder_.write(name, json.dump());
  }
  std::unique_ptr<Tokenizer> load() const {
    return load_tokenizer(folder_.path().string());
  }
  DocumentBorders found(const BorderChoice& choice = {}) const {
    return document_borders(*load(), choice);
  }
  void expect_refused(const std::string& words,
                      const BorderChoice& choice = {}) const {
    EXPECT_THAT([&] { found(choice); },
                ThrowsMessage<UserError>(HasSubstr(words)));
  }

  test::TestFolder folder_;
};

TEST_F(DocumentBordersTest, WithoutFilesTheUsualNameEndsDocuments) {
  const DocumentBorders borders = found();
  EXPECT_THAT(borders.begin, IsEmpty());
  EXPECT_THAT(borders.end, ElementsAre(kTinyEnd));
  EXPECT_THAT(borders.stops, ElementsAre(kTinyEnd));
  EXPECT_THAT(borders.notices, IsEmpty());
}

TEST_F(DocumentBordersTest, EachFileNamesAnEnd) {
  write("config.json", {{"eos_token_id", kEnd}});
  EXPECT_THAT(found().end, ElementsAre(kEnd));
  EXPECT_THAT(found().stops, ElementsAre(kEnd));
  write("config.json", {{"eos_token_id", nullptr}});
  write("generation_config.json", {{"eos_token_id", {kTurn, kEnd}}});
  EXPECT_THAT(found().end, ElementsAre(kTurn));
  EXPECT_THAT(found().stops, ElementsAre(kTurn, kEnd));
  for (const Json& token : {Json("<e>"), Json({{"content", "<e>"}})}) {
    write("tokenizer_config.json", {{"eos_token", token}});
    EXPECT_THAT(found().end, ElementsAre(kEnd));
    EXPECT_THAT(found().stops, ElementsAre(kTurn, kEnd));
    write("tokenizer_config.json", Json::object());
    write("special_tokens_map.json", {{"eos_token", token}});
    EXPECT_THAT(found().end, ElementsAre(kEnd));
    write("special_tokens_map.json", Json::object());
  }
  EXPECT_THAT(found().notices, IsEmpty());
}

// Ids of generation_config.json stop, not those of config.json beside it; what
// ends a document stops too.
TEST_F(DocumentBordersTest, GenerationStopsAsInTransformers) {
  write("config.json", {{"eos_token_id", kTurn}});
  write("generation_config.json", {{"eos_token_id", kEnd}});
  EXPECT_THAT(found().stops, ElementsAre(kEnd, kTurn));
  write("generation_config.json", {{"eos_token_id", {kEnd, kTurn}}});
  EXPECT_THAT(found().stops, ElementsAre(kEnd, kTurn));
}

// A chat model's list: the usual name is what ended documents.
TEST_F(DocumentBordersTest, OfSeveralEndsTheUsualNameEndsDocuments) {
  write("tokenizer_config.json", {{"eos_token", "<turn>"}});
  write("generation_config.json", {{"eos_token_id", {kTurn, kTinyEnd}}});
  EXPECT_THAT(found().end, ElementsAre(kTinyEnd));
  EXPECT_THAT(found().stops, ElementsAre(kTurn, kTinyEnd));
}

TEST_F(DocumentBordersTest, TheMapCountsWhereTransformersLooksAtIt) {
  write("special_tokens_map.json", {{"eos_token", "<turn>"}});
  write("tokenizer_config.json", {{"eos_token", "<e>"}});
  EXPECT_THAT(found().end, ElementsAre(kTurn));
  EXPECT_THAT(found().notices, ElementsAre(HasSubstr("'<turn>' is taken")));
  write("tokenizer_config.json",
        {{"eos_token", "<e>"}, {"added_tokens_decoder", Json::object()}});
  EXPECT_THAT(found().end, ElementsAre(kEnd));
  EXPECT_THAT(found().notices, ElementsAre(HasSubstr("'<e>' is taken")));
}

TEST_F(DocumentBordersTest, WhatTheTokenizerLacksIsSaidAndPassedOver) {
  write("config.json", {{"eos_token_id", 50256}});
  write("generation_config.json", {{"eos_token_id", {-1, kEnd}}});
  write("tokenizer_config.json", {{"eos_token", "</s>"}});
  const DocumentBorders borders = found();
  EXPECT_THAT(borders.end, ElementsAre(kEnd));
  EXPECT_THAT(borders.stops, ElementsAre(kEnd));
  EXPECT_THAT(
      borders.notices,
      ElementsAre(HasSubstr("eos_token '</s>' is no token"),
                  HasSubstr("eos_token_id 50256 of config.json is no token"),
                  HasSubstr("eos_token_id -1 of generation_config.json")));
}

// LlamaConfig's default, with a tokenizer of one's own.
TEST_F(DocumentBordersTest, AnOrdinaryTokenStopsAndEndsNoDocument) {
  write("config.json", {{"eos_token_id", 'q'}});
  const DocumentBorders borders = found();
  EXPECT_THAT(borders.end, ElementsAre(kTinyEnd));
  EXPECT_THAT(borders.stops, ElementsAre('q', kTinyEnd));
  EXPECT_THAT(borders.notices,
              ElementsAre(HasSubstr("is 'q', an ordinary token")));
}

TEST_F(DocumentBordersTest, ThePostProcessorComesFirst) {
  write(
      "tokenizer_config.json",
      {{"eos_token", "<turn>"}, {"bos_token", "<e>"}, {"add_bos_token", true}});
  const WithBorders both(load(), {kBegin}, {kEnd});
  EXPECT_THAT(document_borders(both).begin, ElementsAre(kBegin));
  EXPECT_THAT(document_borders(both).before_document(), ElementsAre(kBegin));
  EXPECT_THAT(document_borders(both).end, ElementsAre(kEnd));
  EXPECT_THAT(document_borders(both).stops, ElementsAre(kTurn, kEnd));
  // With a tokenizer.json transformers asks nothing else.
  EXPECT_THAT(found().begin, IsEmpty());
}

TEST_F(DocumentBordersTest, OneTokenForBothIsPutOnce) {
  const WithBorders one(load(), {kTinyEnd}, {});
  const DocumentBorders borders = document_borders(one);
  EXPECT_THAT(borders.begin, ElementsAre(kTinyEnd));
  EXPECT_THAT(borders.before_document(), IsEmpty());
  EXPECT_THAT(borders.end, ElementsAre(kTinyEnd));
}

// vocab.json and merges.txt have no post-processor.
TEST_F(DocumentBordersTest, AddBosTokenCountsWithoutATokenizerJson) {
  test::TestFolder pair;
  const Json json = tiny_tokenizer_json();
  std::string merges;
  for (const auto& [left, right] : tiny_merges()) {
    merges += left + " " + right + "\n";
  }
  pair.write("vocab.json", json["model"]["vocab"].dump());
  pair.write("merges.txt", merges);
  const Json config = {{"bos_token", "<|endoftext|>"}, {"add_bos_token", true}};
  pair.write("tokenizer_config.json", config.dump());
  const auto tokenizer = load_tokenizer(pair.path().string());
  EXPECT_THAT(document_borders(*tokenizer).begin, ElementsAre(kTinyEnd));
}

TEST_F(DocumentBordersTest, TheUserDecides) {
  write("generation_config.json", {{"eos_token_id", {kTurn, kEnd}}});
  const DocumentBorders borders = found({"<b>", "265"});
  EXPECT_THAT(borders.begin, ElementsAre(kBegin));
  EXPECT_THAT(borders.end, ElementsAre(kEnd));
  EXPECT_THAT(borders.stops, ElementsAre(kEnd));
  const DocumentBorders none = found({"none", "none"});
  EXPECT_THAT(none.begin, IsEmpty());
  EXPECT_THAT(none.end, IsEmpty());
  EXPECT_THAT(none.stops, IsEmpty());
  EXPECT_THAT(none.notices, IsEmpty());
  expect_refused("choosing the end token: found '</s>'", {"", "</s>"});
  expect_refused("choosing the begin token: found '267'", {"267", ""});
}

TEST_F(DocumentBordersTest, WhereNoEndIsKnownThatIsSaid) {
  Json json = tiny_tokenizer_json();
  json["added_tokens"] = Json::array();
  write("tokenizer.json", json);
  EXPECT_THAT(found().end, IsEmpty());
  EXPECT_THAT(found().notices, ElementsAre(HasSubstr("names no end token")));
}

TEST_F(DocumentBordersTest, AModelsOwnFilesComeBeforeTheTokenizers) {
  write("generation_config.json", {{"eos_token_id", kEnd}});
  test::TestFolder model;
  model.write("generation_config.json", R"({"eos_token_id": 266})");
  EXPECT_THAT(document_borders(*load(), {}, model.path()).end,
              ElementsAre(kTurn));
}

TEST_F(DocumentBordersTest, FilesThatSayNothingSensibleAreRefused) {
  for (const Json& id : {Json("2"), Json(1.5), Json(true), Json({1, "x"})}) {
    write("config.json", {{"eos_token_id", id}});
    expect_refused("config.json: eos_token_id is ");
  }
  write("config.json", Json::array());
  expect_refused("config.json: found array, expected an object");
  write("config.json", Json::object());
  write("tokenizer_config.json", {{"eos_token", 3}});
  expect_refused("tokenizer_config.json: eos_token is 3");
}

TEST_F(DocumentBordersTest, FilesBesideBytesOrAFileOfItsOwnNameAreNotItsOwn) {
  write("config.json", {{"eos_token_id", kTurn}});
  folder_.write("mine.json", read_file(folder_.path() / "tokenizer.json"));
  const auto mine = load_tokenizer((folder_.path() / "mine.json").string());
  EXPECT_THAT(document_borders(*mine).end, ElementsAre(kTinyEnd));
  EXPECT_EQ(folder_of(*load()), folder_.path());
  const DocumentBorders bytes =
      document_borders(BytesTokenizer(), {}, folder_.path());
  EXPECT_THAT(bytes.stops, ElementsAre(256));
  EXPECT_THAT(bytes.notices, IsEmpty());
}

}  // namespace
}  // namespace annuli

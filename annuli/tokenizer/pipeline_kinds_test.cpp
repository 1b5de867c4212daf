// Tokenizers of other kinds than GPT-2's, small enough to follow by hand; the
// ids and texts are those of Python's `tokenizers` (tests/parity/tokenizer has
// it on many texts).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"
#include "annuli/tokenizer/token_decoder.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Tokenizer> load(const Json& json) {
  const test::TestFolder folder;
  return load_tokenizer(folder.write("tokenizer.json", json.dump()));
}

Json part(const char* type, Json fields = Json::object()) {
  fields["type"] = type;
  return fields;
}

// "<unk>" 0, "▁" 1, "a" 2, "b" 3, "▁a" 4, "ab" 5, then 256 byte tokens.
Json sentencepiece() {
  Json vocabulary = {{"<unk>", 0}, {"▁", 1},  {"a", 2},
                     {"b", 3},     {"▁a", 4}, {"ab", 5}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[token_of_byte(static_cast<unsigned char>(byte))] = 6 + byte;
  }
  const Json space = {{"String", " "}};
  const Json mark = {{"String", "▁"}};
  Json json;
  json["model"] = part("BPE", {{"vocab", vocabulary},
                               {"merges", Json::array({"▁ a", "a b"})},
                               {"unk_token", "<unk>"},
                               {"fuse_unk", true},
                               {"byte_fallback", true}});
  json["normalizer"] =
      part("Sequence",
           {{"normalizers",
             {part("Prepend", {{"prepend", "▁"}}),
              part("Replace", {{"pattern", space}, {"content", "▁"}})}}});
  json["decoder"] =
      part("Sequence",
           {{"decoders",
             {part("Replace", {{"pattern", mark}, {"content", " "}}),
              part("ByteFallback"), part("Fuse"),
              part("Strip", {{"content", " "}, {"start", 1}, {"stop", 0}})}}});
  return json;
}

std::string streamed(const Tokenizer& tokenizer,
                     const std::vector<int32_t>& ids, bool at_start = true) {
  const auto stream = tokenizer.stream(at_start);
  std::string text;
  for (const int32_t id : ids) text += stream->add(id);
  return text + stream->finish();
}

TEST(SentencePieceBpe, BytesStandForCharactersWithoutAToken) {
  const auto tokenizer = load(sentencepiece());
  EXPECT_THAT(tokenizer->encode("a ab"), ElementsAre(4, 4, 3));
  EXPECT_THAT(tokenizer->encode("aé"), ElementsAre(4, 6 + 0xC3, 6 + 0xA9));
  EXPECT_THAT(tokenizer->encode("a\xC3"), ElementsAre(4, 6 + 0xC3));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a  é b")), "a  é b");
}

TEST(SentencePieceBpe, LongTextsAreCutWhereNothingMerges) {
  Json json = sentencepiece();
  json["model"]["vocab"]["b▁"] = 262;
  json["model"]["vocab"]["▁▁"] = 263;
  json["model"]["merges"].push_back({"b", "▁"});
  json["model"]["merges"].push_back({"▁", "▁"});
  const auto tokenizer = load(json);
  // "▁a" and "ab" come first; "b" and "▁" merge across the mark.
  EXPECT_THAT(tokenizer->encode("ab b"), ElementsAre(4, 262, 3));
  EXPECT_THAT(tokenizer->encode("b  x"), ElementsAre(1, 262, 1, 6 + 'x'));
  std::string text = "b";
  for (int i = 0; i < 40; ++i) text += " b";
  const auto ids = tokenizer->encode(text);
  EXPECT_EQ(ids.size(), 42u);
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(SentencePieceBpe, TheFirstSpaceIsStrippedOnlyAtTheStart) {
  const auto tokenizer = load(sentencepiece());
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{4, 4}), "a a");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{4, 4}, false), " a a");
  EXPECT_EQ(tokenizer->token_bytes(4), " a");
  EXPECT_EQ(tokenizer->token_bytes(6 + 0xC3), "\xC3");
}

// A run of byte tokens is one: what is wrong in it makes all of it U+FFFD.
TEST(SentencePieceBpe, ByteTokensAreReadTogether) {
  const auto tokenizer = load(sentencepiece());
  const std::string lost = "\uFFFD";
  const auto text = [&](const std::vector<int32_t>& ids) {
    EXPECT_EQ(streamed(*tokenizer, ids), tokenizer->decode(ids));
    return tokenizer->decode(ids);
  };
  EXPECT_EQ(text({2, 6 + 0xC3, 6 + 0xA9, 3}), "aéb");
  EXPECT_EQ(text({2, 6 + 0xC3, 3, 6 + 0xA9}), "a" + lost + "b" + lost);
  EXPECT_EQ(text({6 + 'x', 6 + 0xC3, 2}), lost + lost + "a");
}

// A pattern after the bytes never sees a torn character.
TEST(SentencePieceBpe, APatternMayFollowTheBytes) {
  Json json = sentencepiece();
  json["decoder"]["decoders"].insert(
      json["decoder"]["decoders"].begin() + 2,
      part("Replace", {{"pattern", {{"Regex", "\\p{L}"}}}, {"content", "."}}));
  const auto tokenizer = load(json);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{6 + 0xC3, 6 + 0xA9, 2}),
            "..");
  EXPECT_EQ(tokenizer->token_bytes(6 + 0xC3), "\xC3");
}

TEST(SentencePieceBpe, StreamsEveryTextAsDecodeDoes) {
  const auto tokenizer = load(sentencepiece());
  for (const bool at_start : {true, false}) {
    for (int32_t sample = 0; sample < 500; ++sample) {
      std::vector<int32_t> ids;
      for (int32_t i = 0; i < sample % 9; ++i) {
        ids.push_back((sample * 7919 + i * 104729) % (i % 2 == 0 ? 6 : 262));
      }
      EXPECT_EQ(streamed(*tokenizer, ids, at_start),
                tokenizer->decode(ids, at_start));
    }
  }
}

TEST(SentencePieceBpe, WithoutBytesAnUnknownTokenOrNothing) {
  Json json = sentencepiece();
  json["model"]["byte_fallback"] = false;
  EXPECT_THAT(load(json)->encode("axéa"), ElementsAre(4, 0, 2));
  json["model"]["fuse_unk"] = false;
  EXPECT_THAT(load(json)->encode("axé"), ElementsAre(4, 0, 0));
  json["model"].erase("unk_token");
  const auto tokenizer = load(json);
  EXPECT_THAT(tokenizer->encode("axéa"), ElementsAre(4, 2));
  EXPECT_EQ(tokenizer->dropped_bytes(), 3);
  EXPECT_THAT(tokenizer->encode("axéa"), ElementsAre(4, 2));  // and no cache
  EXPECT_EQ(tokenizer->dropped_bytes(), 6);
  EXPECT_THAT(tokenizer->notices().back(), HasSubstr("6 bytes"));
  json["model"]["unk_token"] = "<none>";
  const auto late = load(json);
  EXPECT_THAT(late->encode("a"), ElementsAre(4));
  EXPECT_THROW(late->encode("x"), UserError);
}

TEST(Metaspace, PrependsAlwaysFirstOrNever) {
  Json json = sentencepiece();
  json["normalizer"] = nullptr;
  json["added_tokens"] =
      Json::array({{{"id", 0}, {"content", "<unk>"}, {"special", true}}});
  const auto ids = [&](const char* scheme, bool split) {
    json["pre_tokenizer"] =
        part("Metaspace", {{"prepend_scheme", scheme}, {"split", split}});
    return load(json)->encode("b<unk>b a");
  };
  for (const bool split : {true, false}) {
    EXPECT_THAT(ids("always", split), ElementsAre(1, 3, 0, 1, 3, 4));
    EXPECT_THAT(ids("first", split), ElementsAre(1, 3, 0, 3, 4));
    EXPECT_THAT(ids("never", split), ElementsAre(3, 0, 3, 4));
  }
  json["pre_tokenizer"] = part("Metaspace", {{"prepend_scheme", "last"}});
  EXPECT_THROW(load(json), UserError);
}

// SmolLM2's kind.
TEST(ByteLevel, BytesWithoutATokenAreDroppedOrUnknown) {
  Json json = tiny_tokenizer_json();
  json["model"]["vocab"].erase(spell_byte(0x04));
  json["model"]["vocab"].erase(spell_byte(0xC3));
  const auto tokenizer = load(json);
  EXPECT_THAT(tokenizer->notices()[0], HasSubstr("2 of the 256 bytes"));
  EXPECT_THAT(tokenizer->notices()[0], HasSubstr("0x04"));
  EXPECT_THAT(tokenizer->encode("x\x04yé"), ElementsAre('x', 'y', 0xA9));
  EXPECT_THAT(
      tokenizer->encode("he\x04llo"),
      ElementsAre(256, 257, 'o'));  // the sides do not merge: "he" "llo"
  EXPECT_EQ(tokenizer->dropped_bytes(), 3);
  json["model"]["unk_token"] = "<|endoftext|>";
  EXPECT_THAT(load(json)->encode("x\x04\x04y"),
              ElementsAre('x', kTinyEnd, kTinyEnd, 'y'));
  json["model"]["fuse_unk"] = true;
  EXPECT_THAT(load(json)->encode("x\x04\x04y"),
              ElementsAre('x', kTinyEnd, 'y'));
}

TEST(AddedTokens, TakeSpacesAlongAndStandAlone) {
  Json json = tiny_tokenizer_json();
  const auto with = [&](const char* content, const char* flag) {
    Json changed = json;
    changed["added_tokens"].push_back(
        {{"id", 264}, {"content", content}, {flag, true}});
    return load(changed);
  };
  EXPECT_THAT(with("<m>", "lstrip")->encode("x \t<m> x"),
              ElementsAre('x', 264, ' ', 'x'));
  EXPECT_THAT(with("<m>", "rstrip")->encode("x <m> \u3000x"),
              ElementsAre('x', ' ', 264, 'x'));
  const auto word = with("dog", "single_word");
  EXPECT_THAT(word->encode("dog"), ElementsAre(264));
  EXPECT_THAT(word->encode("-dog."), ElementsAre('-', 264, '.'));
  for (const char* longer : {"dogs", "xdog", "dog_", "édog", "dog\u0301"}) {
    EXPECT_NE(word->encode(longer), word->encode("dog")) << longer;
    EXPECT_EQ(word->decode(word->encode(longer)), longer);
    for (const int32_t id : word->encode(longer)) EXPECT_NE(id, 264) << longer;
  }
}

TEST(PostProcessor, GivesBeginAndEndAndChangesNoHash) {
  Json json = tiny_tokenizer_json();
  const std::string hash = load(json)->hash();
  const Json special = {{"<e>", {{"id", "<e>"}, {"ids", {kTinyEnd, 5}}}}};
  const Json token = {{"SpecialToken", {{"id", "<e>"}, {"type_id", 0}}}};
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  json["post_processor"] = part(
      "Sequence",
      {{"processors",
        {part("ByteLevel"),
         part("TemplateProcessing",
              {{"single", {token, text}}, {"special_tokens", special}}),
         part("RobertaProcessing", {{"cls", {"a", 7}}, {"sep", {"b", 8}}})}}});
  const auto tokenizer = load(json);
  EXPECT_THAT(tokenizer->begin_ids(), ElementsAre(7, kTinyEnd, 5));
  EXPECT_THAT(tokenizer->end_ids(), ElementsAre(8));
  EXPECT_THAT(tokenizer->encode("x"), ElementsAre('x'));
  EXPECT_EQ(tokenizer->hash(), hash);
}

// What token files and checkpoints of earlier versions have recorded.
TEST(Hash, StaysWhatItWas) {
  EXPECT_EQ(load(tiny_tokenizer_json())->hash(),
            "276c97ee43cd6735cb23138d66237e01b3c787fc9082b8e941ec26204e90bdd2");
  Json json = tiny_tokenizer_json();
  json["normalizer"] = part("NFC");
  json["model"]["ignore_merges"] = true;
  json["pre_tokenizer"] =
      part("Sequence", {{"pretokenizers",
                         {part("Digits", {{"individual_digits", true}}),
                          part("ByteLevel", {{"add_prefix_space", true}})}}});
  json["added_tokens"].push_back(
      {{"id", 264}, {"content", "<x>"}, {"normalized", true}});
  EXPECT_EQ(load(json)->hash(),
            "839198b12bf7a4c03f08755767a36ca743925ed02a65b04c4a2bef99e6b5e7dc");
}

}  // namespace
}  // namespace annuli

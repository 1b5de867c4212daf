#include "annuli/tokenizer/pipeline_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/rng.h"
#include "annuli/tokenizer/bytes_tokenizer.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"

namespace annuli {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<Tokenizer> load(const Json& json) {
  const test::TestFolder folder;
  return load_tokenizer(folder.write("tokenizer.json", json.dump()));
}

std::unique_ptr<Tokenizer> tiny() { return load(tiny_tokenizer_json()); }

std::string random_bytes(const CounterRng& rng, uint64_t sample, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) {
    bytes += static_cast<char>(rng.below(sample * 1000 + i, 256));
  }
  return bytes;
}

TEST(PipelineTokenizer, MergesByRankWithinWords) {
  const auto tokenizer = tiny();
  EXPECT_THAT(tokenizer->encode("hello"), ElementsAre(kTinyHello));
  EXPECT_THAT(tokenizer->encode("hello world"),
              ElementsAre(kTinyHello, 260, 261, 'l', 'd'));
  EXPECT_THAT(tokenizer->encode("   x"), ElementsAre(262, ' ', 'x'));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
}

TEST(PipelineTokenizer, SpecialTokensInTheText) {
  const auto tokenizer = tiny();
  EXPECT_THAT(tokenizer->encode("x<|endoftext|>hello"),
              ElementsAre('x', kTinyEnd, kTinyHello));
  const auto plain = tokenizer->encode("<|endoftext|>", {false});
  EXPECT_EQ(plain.size(), 13u);
  EXPECT_EQ(tokenizer->decode(plain), "<|endoftext|>");
  EXPECT_EQ(tokenizer->end_of_text(), kTinyEnd);
}

TEST(PipelineTokenizer, LongestAddedTokenWins) {
  Json json = tiny_tokenizer_json();
  json["added_tokens"].push_back(
      {{"id", 264}, {"content", "<|"}, {"special", false}});
  const auto tokenizer = load(json);
  EXPECT_THAT(tokenizer->encode("<|<|endoftext|>"), ElementsAre(264, kTinyEnd));
}

TEST(PipelineTokenizer, LosesNoByte) {
  const auto tokenizer = tiny();
  const BytesTokenizer bytes;
  const CounterRng rng(7, "tokenizer_test");
  for (uint64_t sample = 0; sample < 300; ++sample) {
    const std::string text = random_bytes(rng, sample, sample);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    EXPECT_EQ(bytes.decode(bytes.encode(text)), text);
  }
}

TEST(PipelineTokenizer, InvalidStretchIsAWordAndItsSidesStandAlone) {
  const auto tokenizer = tiny();
  // A cut-off euro sign, an overlong slash, a surrogate, a lone continuation.
  for (const std::string bad :
       {"\xE2\x82", "\xC0\xAF", "\xED\xA0\x80", "\x80", "\xF5\xFF"}) {
    std::vector<int32_t> expected = tokenizer->encode("hello ");
    for (unsigned char byte : bad) expected.push_back(byte);
    for (int32_t id : tokenizer->encode("hello")) expected.push_back(id);
    EXPECT_EQ(tokenizer->encode("hello " + bad + "hello"), expected);
  }
}

TEST(PipelineTokenizer, AppendsAfterWhatIsThere) {
  std::vector<int32_t> ids = {1, 2};
  tiny()->encode_append("hello", ids);
  EXPECT_THAT(ids, ElementsAre(1, 2, kTinyHello));
}

TEST(PipelineTokenizer, VeryLongWords) {
  const auto tokenizer = tiny();
  for (const std::string unit : {" ", "l", "\n", "he", "\xFF"}) {
    std::string text;
    while (text.size() < 300000) text += unit;
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
  EXPECT_EQ(tokenizer->encode(std::string(100000, ' ')).size(), 50000u);
}

TEST(PipelineTokenizer, WordThatIsATokenIgnoresMergesOnlyWhenAsked) {
  Json json = tiny_tokenizer_json();
  json["model"]["vocab"]["xyz"] = 264;
  EXPECT_THAT(load(json)->encode("xyz"), ElementsAre('x', 'y', 'z'));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(load(json)->encode("xyz"), ElementsAre(264));
}

TEST(PipelineTokenizer, LooksUpTokensByTheirBytes) {
  const auto tokenizer = tiny();
  EXPECT_EQ(tokenizer->token_to_id(" w"), 260);
  EXPECT_EQ(tokenizer->token_to_id("Ġw"), std::nullopt);
  EXPECT_EQ(tokenizer->token_bytes(260), " w");
  EXPECT_EQ(tokenizer->vocab_size(), 264);
}

TEST(PipelineTokenizer, IdsWithoutATokenShowNothing) {
  Json json = tiny_tokenizer_json();
  json["model"]["vocab"]["xyz"] = 300;  // 264 to 299 are holes
  const auto tokenizer = load(json);
  const BytesTokenizer bytes;
  EXPECT_TRUE(tokenizer->has_token(263));
  EXPECT_TRUE(tokenizer->has_token(300));
  EXPECT_TRUE(bytes.has_token(256));
  for (int32_t id : {-1, 264, 299, 301, 1 << 30}) {
    EXPECT_FALSE(tokenizer->has_token(id));
    EXPECT_FALSE(bytes.has_token(id));
    const std::vector<int32_t> ids = {'a', id, 'b'};
    EXPECT_EQ(tokenizer->decode(ids), "ab");
    EXPECT_EQ(bytes.decode(ids), "ab");
  }
}

TEST(PipelineTokenizer, NormalizesToNfcWhereAsked) {
  Json json = tiny_tokenizer_json();
  const std::string composed = "\xC3\xA9";
  const std::string decomposed = "e\xCC\x81";
  EXPECT_NE(load(json)->encode(composed), load(json)->encode(decomposed));
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(load(json)->encode(composed), load(json)->encode(decomposed));
}

TEST(PipelineTokenizer, EqualResultsFromSeveralThreads) {
  const auto tokenizer = tiny();
  const CounterRng rng(11, "tokenizer_threads");
  std::string text;
  for (uint64_t i = 0; i < 20000; ++i) {
    text += "helowrd \n1"[rng.below(i, 10)];
  }
  const auto expected = tokenizer->encode(text);
  std::vector<std::vector<int32_t>> found(4);
  std::vector<std::thread> threads;
  for (auto& ids : found) {
    threads.emplace_back([&] { ids = tokenizer->encode(text); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& ids : found) EXPECT_EQ(ids, expected);
}

TEST(PipelineTokenizer, HashFollowsWhatDecidesTheIds) {
  const Json base = tiny_tokenizer_json();
  const std::string hash = load(base)->hash();
  EXPECT_EQ(load(base)->hash(), hash);
  EXPECT_EQ(hash.size(), 64u);
  std::vector<Json> changed(5, base);
  std::swap(changed[0]["model"]["merges"][0], changed[0]["model"]["merges"][1]);
  changed[1]["normalizer"] = {{"type", "NFC"}};
  changed[2]["pre_tokenizer"]["add_prefix_space"] = true;
  changed[3]["model"]["ignore_merges"] = true;
  changed[4]["added_tokens"][0]["special"] = false;
  for (const Json& json : changed) EXPECT_NE(load(json)->hash(), hash);
  Json ignored = base;
  ignored["post_processor"] = {{"type", "ByteLevel"}};
  ignored["added_tokens"][0]["normalized"] = true;
  EXPECT_EQ(load(ignored)->hash(), hash);
}

TEST(BytesTokenizer, BytesAndEndOfText) {
  const auto bytes = load_tokenizer("bytes");
  EXPECT_THAT(bytes->encode("a\xFF<|endoftext|>"), ElementsAre('a', 255, 256));
  EXPECT_EQ(bytes->encode("<|endoftext|>", {false}).size(), 13u);
  EXPECT_EQ(bytes->vocab_size(), 257);
  EXPECT_EQ(bytes->end_of_text(), 256);
  EXPECT_NE(bytes->hash(), tiny()->hash());
}

}  // namespace
}  // namespace annuli

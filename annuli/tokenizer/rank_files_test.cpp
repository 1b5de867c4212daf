#include <gtest/gtest.h>

#include <fstream>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/base64.h"
#include "annuli/tokenizer/rank_model.h"
#include "annuli/tokenizer/tiny_sentencepiece_for_tests.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i) {
      const bool there = at + i < bytes.size();
      bits =
          bits << 8 | (there ? static_cast<unsigned char>(bytes[at + i]) : 0);
    }
    for (size_t i = 0; i < 4; ++i) {
      const bool there = at + i <= bytes.size();
      text += there ? kLetters[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

std::vector<std::string> all_bytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  return tokens;
}

class RankFiles : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return (folder_ / name).string();
  }
  static void refused(const std::string& path, const std::string& word) {
    try {
      load_tokenizer(path);
      ADD_FAILURE() << "accepted: " << word;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << error.what();
    }
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST(Base64, DecodesWholeGroupsOnly) {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"}) {
    EXPECT_EQ(decode_base64(base64(text)), text);
  }
  EXPECT_EQ(decode_base64("YWI"), std::nullopt);
  EXPECT_EQ(decode_base64("Y=Jj"), std::nullopt);
  EXPECT_EQ(decode_base64("YW-j"), std::nullopt);
  EXPECT_EQ(decode_base64("===="), std::nullopt);
}

// Any two neighbours merge whose bytes are a token; the leftmost of equals.
TEST(RankModel, MergesByTheRankOfTheResult) {
  std::vector<std::pair<std::string, int32_t>> tokens;
  for (const std::string& byte : all_bytes()) {
    tokens.emplace_back(byte, 1000 + static_cast<int32_t>(tokens.size()));
  }
  for (const char* token : {"aa", "aaa", "bc", "ab", "abc"}) {
    tokens.emplace_back(token, static_cast<int32_t>(tokens.size()));
  }
  const RankModel model("tiny", tokens);
  const auto workspace = model.make_workspace();
  const auto ids = [&](std::string_view word) {
    Ids found;
    model.append_ids(word, *workspace, found);
    return found;
  };
  EXPECT_EQ(ids("abc"), Ids{260});
  EXPECT_EQ(ids("xabc"), (Ids{1000 + 'x', 260}));
  EXPECT_EQ(ids("aaaaa"), (Ids{256, 257}));
  EXPECT_EQ(ids("\xff"), Ids{1255});
}

TEST_F(RankFiles, TekkenPutsSpecialTokensFirst) {
  Json vocab = Json::array();
  auto tokens = all_bytes();
  tokens.insert(tokens.end(), {"ab", "abc", "never"});
  for (const std::string& token : tokens) {
    vocab.push_back({{"rank", vocab.size()},
                     {"token_bytes", base64(token)},
                     {"token_str", nullptr}});
  }
  Json json = {{"config",
                {{"pattern", "\\p{L}+|\\s+|[^\\s\\p{L}]+"},
                 {"default_vocab_size", 30 + 258},
                 {"default_num_special_tokens", 30}}},
               {"vocab", vocab}};
  const auto tokenizer = load_tokenizer(write("tekken.json", json.dump()));
  EXPECT_EQ(tokenizer->vocab_size(), 288);
  EXPECT_EQ(tokenizer->encode("abc ab"), (Ids{287, 30 + ' ', 286}));
  EXPECT_EQ(tokenizer->encode("</s>"),
            (Ids{30 + '<', 30 + '/', 30 + 's', 30 + '>'}));
  EXPECT_EQ(tokenizer->end_of_text(), 2);
  EXPECT_EQ(tokenizer->begin_ids()[0], 1);
  EXPECT_EQ(tokenizer->token_bytes(29), "<SPECIAL_29>");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("x\xff y")), "x\xff y");
  // Also by its folder, and by what it holds.
  EXPECT_EQ(load_tokenizer(folder_)->hash(), tokenizer->hash());
  EXPECT_EQ(load_tokenizer(write("other.json", json.dump()))->hash(),
            tokenizer->hash());
  json["special_tokens"] = {{{"rank", 2}, {"token_str", "<end>"}}};
  EXPECT_EQ(load_tokenizer(write("tekken.json", json.dump()))->token_bytes(2),
            "<end>");
  Json bad = json;
  bad["config"]["default_vocab_size"] = 300;
  refused(write("tekken.json", bad.dump()), "default_vocab_size");
  bad = json;
  bad["vocab"][7]["rank"] = 8;
  refused(write("tekken.json", bad.dump()), "vocab[7]");
  bad = json;
  bad["vocab"][7]["token_bytes"] = base64("ab");
  refused(write("tekken.json", bad.dump()), "a second time");
  bad = json;
  bad["special_tokens"][0]["rank"] = 30;
  refused(write("tekken.json", bad.dump()), "special token");
  bad = json;
  bad["config"].erase("pattern");
  refused(write("tekken.json", bad.dump()), "config.pattern");
}

TEST_F(RankFiles, ATokenizerJsonThatIsCalledTekkenIsOne) {
  const std::string json = tiny_tokenizer_json().dump();
  EXPECT_EQ(load_tokenizer(write("tekken.json", json))->hash(),
            load_tokenizer(write("tokenizer.json", json))->hash());
}

TEST_F(RankFiles, TiktokenTakesWhatIsKnownOfItsSize) {
  std::string lines;
  auto tokens = all_bytes();
  for (int i = 0; tokens.size() < 50256; ++i) {
    std::string token;
    for (int shift = 12; shift >= 0; shift -= 4) {
      token += static_cast<char>('a' + (i >> shift & 15));
    }
    tokens.push_back(std::move(token));
  }
  for (size_t rank = 0; rank < tokens.size(); ++rank) {
    lines += fmt::format("{} {}\n", base64(tokens[rank]), rank);
  }
  const auto tokenizer = load_tokenizer(write("mine.tiktoken", lines));
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  EXPECT_EQ(tokenizer->end_of_text(), 50256);
  EXPECT_EQ(tokenizer->encode("aapp<|endoftext|>"), (Ids{256 + 255, 50256}));
  EXPECT_EQ(tokenizer->encode("<|endoftext|>", {false}).size(), 13u);
  ASSERT_EQ(tokenizer->notices().size(), 1u);
  EXPECT_NE(tokenizer->notices()[0].find("r50k_base"), std::string::npos);
  EXPECT_EQ(load_tokenizer(folder_)->hash(), tokenizer->hash());
  // Meta's Llama 3 calls such a file tokenizer.model.
  fs::rename(folder_ / "mine.tiktoken", folder_ / "tokenizer.model");
  EXPECT_EQ(load_tokenizer(folder_)->hash(), tokenizer->hash());
  refused(write("b.tiktoken", "YQ== 0\nYg== 1\n"), "2 tokens");
  refused(write("b.tiktoken", "YQ== 0\nYg==\n"), "line 2");
  refused(write("b.tiktoken", "YQ== 0\n*** 1\n"), "line 2");
  refused(write("b.tiktoken", "YQ== -1\n"), "line 1");
}

TEST_F(RankFiles, SentencePieceIsFoundWithWhatStandsBesideIt) {
  const auto model = tiny_sentencepiece(SentencePieceModel::Kind::kBpe,
                                        {"\u2581a", "a", "\u2581"});
  write("tokenizer.model", sentencepiece_message(model));
  const auto tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer->encode("a a"), (Ids{3, 3}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 3, 3, 2}), "a a");
  EXPECT_EQ(tokenizer->decode(Ids{3, 3}, false), " a a");
  EXPECT_EQ(tokenizer->begin_ids()[0], 1);
  EXPECT_TRUE(tokenizer->notices().empty());
  write("tokenizer_config.json",
        R"({"add_bos_token": false, "add_eos_token": true})");
  write("added_tokens.json", R"({"<pad>": 6})");
  const auto other = load_tokenizer(folder_);
  EXPECT_TRUE(other->begin_ids().empty());
  EXPECT_EQ(other->end_ids()[0], 2);
  ASSERT_EQ(other->notices().size(), 1u);
  EXPECT_NE(other->notices()[0].find("added_tokens.json"), std::string::npos);
  refused(write("tokenizer.model", "fake\n"), "no SentencePiece model");
  refused(write("tokenizer.model", ""), "0 pieces");
}

}  // namespace
}  // namespace annuli

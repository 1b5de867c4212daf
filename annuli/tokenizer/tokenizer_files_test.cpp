#include "annuli/tokenizer/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;

// The error of loading `text` as tokenizer.json; "" if there is none.
std::string error_of(const std::string& text) {
  const test::TestFolder folder;
  try {
    load_tokenizer(folder.write("tokenizer.json", text));
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "";
}

// The tiny tokenizer, unbroken: what each broken one below is measured by.
TEST(TokenizerJson, ReadsTheTinyTokenizer) {
  EXPECT_EQ(error_of(tiny_tokenizer_json().dump()), "");
}

struct Fault {
  const char* name;
  std::function<void(Json&)> inject;
  const char* message;
};

const std::vector<Fault>& faults() {
  static const std::vector<Fault> kFaults = {
      {"IdTwice", [](Json& j) { j["model"]["vocab"]["he"] = 5; }, "twice"},
      {"NegativeId", [](Json& j) { j["model"]["vocab"]["he"] = -1; }, "-1"},
      {"HugeId", [](Json& j) { j["model"]["vocab"]["he"] = 1ull << 40; }, "id"},
      {"LargeId", [](Json& j) { j["model"]["vocab"]["he"] = 1 << 23; }, "id"},
      {"TextId", [](Json& j) { j["model"]["vocab"]["he"] = "7"; }, "id"},
      {"NoVocabulary", [](Json& j) { j["model"].erase("vocab"); }, "vocab"},
      {"NoMerges", [](Json& j) { j["model"].erase("merges"); }, "merges"},
      {"UnknownPart", [](Json& j) { j["model"]["merges"][0] = "q z"; }, "qz"},
      {"UnknownLeft",
       [](Json& j) {
         j["model"]["merges"][0] = Json::array({"qq", "z"});
       },
       "'qq'"},
      {"MergeOfThree", [](Json& j) { j["model"]["merges"][0] = "h e l"; },
       "merges[0]"},
      {"MergeOfNumbers",
       [](Json& j) {
         j["model"]["merges"][2] = Json::array({1, 2});
       },
       "merges[2]"},
      {"WordPiece", [](Json& j) { j["model"]["type"] = "WordPiece"; },
       "WordPiece"},
      {"Dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout"},
      {"NoBytes",
       [](Json& j) {
         j["model"]["vocab"] = {{"<|endoftext|>", 263}};
         j["model"]["merges"] = Json::array();
       },
       "256 bytes"},
      {"Normalizer",
       [](Json& j) {
         j["normalizer"] = {{"type", "Nmt"}};
       },
       "Nmt"},
      {"PreTokenizer",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
       },
       "UnicodeScripts"},
      {"SpacesAfterBytes",
       [](Json& j) {
         j["pre_tokenizer"] = {
             {"type", "Sequence"},
             {"pretokenizers", {j["pre_tokenizer"], {{"type", "Metaspace"}}}}};
       },
       "Metaspace after ByteLevel"},
      {"SplitBehavior",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", "x"}}},
                               {"behavior", "Halved"}};
       },
       "Halved"},
      {"SplitOfNothing",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"String", ""}}},
                               {"behavior", "Isolated"}};
       },
       "nothing"},
      {"MarkOfNothing",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", ""}};
       },
       "one character"},
      {"MarkOfTwo",
       [](Json& j) {
         j["pre_tokenizer"] = nullptr;
         j["decoder"] = {{"type", "Metaspace"}, {"replacement", "ab"}};
       },
       "one character"},
      {"DelimiterOfNothing",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "CharDelimiterSplit"}};
       },
       "one character"},
      {"Decoder",
       [](Json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       "WordPiece"},
      {"DecoderAfterFuse",
       [](Json& j) {
         j["pre_tokenizer"] = nullptr;
         j["decoder"] = {
             {"type", "Sequence"},
             {"decoders", {{{"type", "Fuse"}}, {{"type", "ByteFallback"}}}}};
       },
       "ByteFallback after"},
      {"PostProcessor",
       [](Json& j) {
         j["post_processor"] = {{"type", "Bow"}};
       },
       "Bow"},
      {"TemplateWithoutText",
       [](Json& j) {
         j["post_processor"] = {{"type", "TemplateProcessing"},
                                {"single", Json::array()}};
       },
       "0 texts"},
      {"TemplateUnknownToken",
       [](Json& j) {
         j["post_processor"] = {
             {"type", "TemplateProcessing"},
             {"single", {{{"SpecialToken", {{"id", "<x>"}}}}}}};
       },
       "<x>"},
      {"TemplateUnknownId",
       [](Json& j) {
         j["post_processor"] = {{"type", "RobertaProcessing"},
                                {"cls", {"<s>", 999}},
                                {"sep", {"</s>", 5}}};
       },
       "999"},
      {"SplitPattern",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", "(x"}}},
                               {"behavior", "Isolated"}};
       },
       "(x"},
      {"TokenEmpty", [](Json& j) { j["added_tokens"][0]["content"] = ""; },
       "content"},
      {"TokenNoId", [](Json& j) { j["added_tokens"][0].erase("id"); }, "id"},
      {"TokenOtherId", [](Json& j) { j["added_tokens"][0]["id"] = 1000; },
       "1000"},
      {"TokenTakesId",
       [](Json& j) {
         j["added_tokens"][0] = {{"id", 5}, {"content", "<x>"}};
       },
       "twice"},
      {"TokenTwice",
       [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); },
       "twice"},
      {"AddedTokensNoList", [](Json& j) { j["added_tokens"] = 3; }, "list"},
      {"ModelNoObject", [](Json& j) { j["model"] = "BPE"; }, "model"},
      {"List", [](Json& j) { j = Json::array(); }, "object"},
  };
  return kFaults;
}

TEST(TokenizerJson, RefusesEveryFaultByName) {
  for (const Fault& fault : faults()) {
    Json json = tiny_tokenizer_json();
    fault.inject(json);
    EXPECT_THAT(error_of(json.dump()), HasSubstr(fault.message)) << fault.name;
  }
}

// Cutting a file anywhere is found, whatever half of a number is left.
TEST(TokenizerJson, RefusesEveryTruncation) {
  const std::string text = tiny_tokenizer_json().dump();
  for (size_t size = 0; size < text.size(); size += 37) {
    EXPECT_NE(error_of(text.substr(0, size)), "") << size;
  }
}

// Any one byte changed: a UserError or a working tokenizer, nothing else.
TEST(TokenizerJson, SurvivesChangedBytes) {
  const std::string text = tiny_tokenizer_json().dump();
  for (size_t at = 0; at < text.size(); at += 11) {
    std::string changed = text;
    changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
    error_of(changed);
  }
}

std::string merges_text() {
  std::string text = "#version: 0.2\n";
  for (const auto& [left, right] : tiny_merges()) {
    text += left + " " + right + "\n";
  }
  return text;
}

TEST(VocabAndMerges, EqualsTokenizerJson) {
  const test::TestFolder pair;
  const Json json = tiny_tokenizer_json();
  pair.write("vocab.json", json["model"]["vocab"].dump());
  pair.write("merges.txt", merges_text());
  const test::TestFolder single;
  single.write("tokenizer.json", json.dump());
  const auto a = load_tokenizer(pair.path());
  const auto b = load_tokenizer(single.path());
  EXPECT_EQ(a->hash(), b->hash());
  EXPECT_EQ(a->end_of_text(), kTinyEnd);
  const std::string text = "hello <|endoftext|> world";
  EXPECT_EQ(a->encode(text), b->encode(text));
}

// As transformers writes them: CRLF merges (git on Windows), and three files
// that name added tokens.
TEST(VocabAndMerges, ReadsTheFilesBesideThem) {
  const test::TestFolder folder;
  folder.write("vocab.json", tiny_tokenizer_json()["model"]["vocab"].dump());
  std::string merges = merges_text();
  for (size_t at = 0; (at = merges.find('\n', at)) != merges.npos; at += 2) {
    merges.insert(at, "\r");
  }
  folder.write("merges.txt", merges);
  folder.write("added_tokens.json",
               R"({"<|im_start|>": 264, "plain": 265, "<pad>": 266})");
  folder.write("special_tokens_map.json",
               R"({"additional_special_tokens": ["<|im_start|>"],
                   "pad_token": {"content": "<pad>", "lstrip": false}})");
  folder.write("tokenizer_config.json", R"({"added_tokens_decoder": {
      "266": {"content": "<pad>", "special": true, "rstrip": true}}})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->vocab_size(), 267);
  EXPECT_EQ(tokenizer->end_of_text(), kTinyEnd);
  const auto ids = [](std::vector<int32_t> list) { return list; };
  EXPECT_EQ(tokenizer->encode("hello<|im_start|>plain<pad>  hello"),
            ids({kTinyHello, 264, 265, 266, kTinyHello}));
  EXPECT_EQ(tokenizer->encode("<|im_start|>plain", {false}).back(), 265);
  EXPECT_EQ(tokenizer->encode("<|im_start|>plain", {false}).size(), 13u);
}

TEST(VocabAndMerges, RefusesTwoIdsForOneToken) {
  const test::TestFolder folder;
  folder.write("vocab.json", tiny_tokenizer_json()["model"]["vocab"].dump());
  folder.write("merges.txt", merges_text());
  folder.write("added_tokens.json", R"({"<x>": 264})");
  folder.write("tokenizer_config.json",
               R"({"added_tokens_decoder": {"265": {"content": "<x>"}}})");
  try {
    load_tokenizer(folder.path());
    FAIL() << "two ids were accepted";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("264"));
    EXPECT_THAT(error.what(), HasSubstr("265"));
  }
}

TEST(VocabAndMerges, NamesFileAndLine) {
  const test::TestFolder folder;
  folder.write("vocab.json", tiny_tokenizer_json()["model"]["vocab"].dump());
  folder.write("merges.txt", "#version: 0.2\nh e\nhe\n");
  try {
    load_tokenizer(folder.path());
    FAIL() << "a merge of one token was accepted";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("merges.txt, line 3"));
  }
}

TEST(VocabAndMerges, RefusesAnotherFamilysPair) {
  const test::TestFolder folder;
  folder.write("vocab.json", tiny_tokenizer_json()["model"]["vocab"].dump());
  folder.write("merges.txt", merges_text());
  EXPECT_NO_THROW(load_tokenizer(folder.path()));
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "Qwen2Tokenizer"})");
  EXPECT_THROW(load_tokenizer(folder.path()), UserError);
}

TEST(LoadTokenizer, SaysWhatItExpects) {
  try {
    load_tokenizer("/no/such/place");
    FAIL() << "a missing folder was accepted";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
  }
}

std::string notices_of_loading(const std::string& name) {
  ::testing::internal::CaptureStderr();
  load_tokenizer(name);
  return ::testing::internal::GetCapturedStderr();
}

// transformers would add them; that they are not read is said.
TEST(TokenizerFiles, TokensThatOnlyTokenizerConfigAddsAreNamed) {
  const test::TestFolder folder;
  const std::string path =
      folder.write("tokenizer.json", tiny_tokenizer_json().dump()).string();
  Json added = {{"263", {{"content", "<|endoftext|>"}, {"special", true}}},
                {"256", {{"content", "he"}}}};
  folder.write("tokenizer_config.json",
               Json{{"added_tokens_decoder", added}}.dump());
  EXPECT_EQ(notices_of_loading(path), "");
  added["300"] = {{"content", "<|im_start|>"}, {"special", true}};
  added["301"] = {{"content", "<|im_end|>"}, {"special", true}};
  folder.write("tokenizer_config.json",
               Json{{"added_tokens_decoder", added}}.dump());
  const std::string line = notices_of_loading(folder.path());
  EXPECT_NE(line.find("2 tokens that tokenizer_config.json adds are not in it "
                      "('<|im_start|>', ...) and are not read"),
            std::string::npos)
      << line;
}

TEST(TokenizerFiles, AModelsIdIsFoundInTheCacheOfHuggingFace) {
  const test::TestFolder cache;
  setenv("HF_HUB_CACHE", cache.path().c_str(), 1);
  const fs::path repository = cache.path() / "models--acme--tiny";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots/0123");
  cache.write("models--acme--tiny/refs/main", "0123\n");
  const fs::path file =
      cache.write("models--acme--tiny/snapshots/0123/tokenizer.json",
                  tiny_tokenizer_json().dump());
  const std::string hash = load_tokenizer(file.string())->hash();
  for (const std::string& name :
       {std::string("acme/tiny"), repository.string(),
        std::string("https://huggingface.co/acme/tiny")}) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(load_tokenizer(name)->hash(), hash) << name;
    EXPECT_NE(::testing::internal::GetCapturedStderr().find("is read from"),
              std::string::npos);
  }
  const auto refusal = [](const std::string& name) -> std::string {
    try {
      load_tokenizer(name);
      return "accepted";
    } catch (const UserError& error) {
      return error.what();
    }
  };
  EXPECT_NE(refusal("acme/none").find("`hf download acme/none`"),
            std::string::npos);
  EXPECT_EQ(refusal("gpt2").find("hf download"), std::string::npos);
  unsetenv("HF_HUB_CACHE");
}

}  // namespace
}  // namespace annuli

#include <zlib.h>
#include <zstd.h>

#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/data/text_input.h"
#include "annuli/data/token_file.h"
#include "annuli/tokenizer/document_borders.h"
#include "annuli/tokenizer/tiktoken_file.h"
#include "annuli/tokenizer/tiny_sentencepiece_for_tests.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"
#include "annuli/tokenizer/tokenizer.h"
#include "tests/fuzz/parquet_seeds.h"
#include "tests/fuzz/target.h"

namespace annuli::fuzz {
namespace {

void use(const Tokenizer& tokenizer) {
  tokenizer.decode(tokenizer.encode("hello w\xc3\xb6rld  <|endoftext|>\n"));
}

// Every other part of a tokenizer.json that is read: characters instead of
// bytes, as SentencePiece has them.
Json characters_seed() {
  const Json mark = {{"String", "\u2581"}};
  const Json token = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const auto part = [](const char* type, Json fields = Json::object()) {
    fields["type"] = type;
    return fields;
  };
  Json json;
  json["model"] = part("BPE", {{"vocab",
                                {{"<unk>", 0},
                                 {"<s>", 1},
                                 {"\u2581", 2},
                                 {"h", 3},
                                 {"e", 4},
                                 {"he", 5},
                                 {"<0xC3>", 6},
                                 {"<0xB6>", 7}}},
                               {"merges", Json::array({"h e"})},
                               {"unk_token", "<unk>"},
                               {"fuse_unk", true},
                               {"byte_fallback", true},
                               {"ignore_merges", false},
                               {"continuing_subword_prefix", ""},
                               {"end_of_word_suffix", ""}});
  json["normalizer"] =
      part("Sequence",
           {{"normalizers",
             {part("NFKC"), part("Lowercase"), part("StripAccents"),
              part("Strip", {{"strip_left", true}, {"strip_right", false}}),
              part("Prepend", {{"prepend", "\u2581"}}),
              part("Replace",
                   {{"pattern", {{"Regex", " +"}}}, {"content", "\u2581"}})}}});
  json["pre_tokenizer"] =
      part("Sequence", {{"pretokenizers",
                         {part("Metaspace", {{"replacement", "\u2581"},
                                             {"prepend_scheme", "first"}}),
                          part("Punctuation", {{"behavior", "MergedWithNext"}}),
                          part("CharDelimiterSplit", {{"delimiter", "x"}})}}});
  json["decoder"] =
      part("Sequence",
           {{"decoders",
             {part("Replace", {{"pattern", mark}, {"content", " "}}),
              part("ByteFallback"), part("Fuse"),
              part("Strip", {{"content", " "}, {"start", 1}, {"stop", 1}})}}});
  json["post_processor"] =
      part("TemplateProcessing",
           {{"single", {token, text}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}}}}}});
  json["added_tokens"] = Json::array({{{"id", 1},
                                       {"content", "<s>"},
                                       {"special", true},
                                       {"lstrip", true},
                                       {"single_word", true}}});
  return json;
}

Json tiny_unigram_json() {
  return {
      {"model",
       {{"type", "Unigram"},
        {"unk_id", 0},
        {"byte_fallback", true},
        {"vocab", {{"<unk>", 0.0}, {"he", -1.5}, {"l", -2.0}, {"o", -3.0}}}}},
      {"normalizer",
       {{"type", "Precompiled"},
        {"precompiled_charsmap", "CAAAAAAAAAAAAAAAeAA="}}},
      {"pre_tokenizer",
       {{"type", "Metaspace"},
        {"replacement", "\u2581"},
        {"prepend_scheme", "always"}}},
      {"decoder", {{"type", "Metaspace"}, {"replacement", "\u2581"}}},
      {"added_tokens", Json::array()}};
}

std::vector<std::string> tokenizer_seeds() {
  Json split = tiny_tokenizer_json();
  split["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern", {{"Regex", "\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"},
         {"add_prefix_space", false},
         {"use_regex", false}}}}};
  split["normalizer"] = {{"type", "NFC"}};
  return {tiny_tokenizer_json().dump(), split.dump(), characters_seed().dump(),
          tiny_unigram_json().dump()};
}

void read_tokenizer(const std::string& bytes) {
  use(*load_tokenizer(as_file("tokenizer.json", bytes).string()));
}

std::vector<std::string> sentencepiece_seeds() {
  std::vector<std::string> seeds;
  for (const auto kind :
       {SentencePieceModel::Kind::kBpe, SentencePieceModel::Kind::kUnigram}) {
    auto model = tiny_sentencepiece(
        kind, {"he", "ll", "hell", "hello", "h", "e", "l", "o", "\u2581"});
    model.charsmap = compiled_rules({{"w", "W"}, {"\xc3\xb6", "o"}});
    model.pieces.push_back({"ld", 0, SentencePieceModel::Type::kUserDefined});
    seeds.push_back(sentencepiece_message(model));
  }
  return seeds;
}

void read_sentencepiece_model(const std::string& bytes) {
  use(*load_tokenizer(as_file("tokenizer.model", bytes).string()));
}

std::vector<std::string> tekken_seeds() {
  Json vocab = Json::array();
  for (int byte = 0; byte < 256; ++byte) {
    const uint32_t bits = static_cast<uint32_t>(byte) << 16;
    const auto letter = [&](int shift) {
      return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
          [bits >> shift & 63];
    };
    vocab.push_back(
        {{"rank", byte},
         {"token_bytes", std::string({letter(18), letter(12), '=', '='})}});
  }
  const Json config = {{"pattern", "\\p{L}+|\\s+|[^\\s\\p{L}]+"},
                       {"default_vocab_size", 259},
                       {"default_num_special_tokens", 3}};
  return {Json{{"config", config}, {"vocab", vocab}}.dump()};
}

void read_tekken_json(const std::string& bytes) {
  use(*load_tokenizer(as_file("tekken.json", bytes).string()));
}

// The lines alone: no vocabulary of a known size is small.
std::vector<std::string> tiktoken_seeds() {
  return {"IQ== 0\nIg== 1\r\nIiE= 2\n", "IQ== 5\n"};
}

void read_tiktoken_lines(const std::string& bytes) {
  tiktoken_tokens(bytes, "some.tiktoken");
}

// vocab.json and merges.txt, a line of dashes between them.
constexpr const char* kBetween = "\n--------\n";

std::vector<std::string> vocabulary_seeds() {
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : tiny_merges()) {
    merges += left + " " + right + "\n";
  }
  return {tiny_tokenizer_json().at("model").at("vocab").dump() + kBetween +
          merges};
}

void read_vocabulary(const std::string& bytes) {
  const size_t at = bytes.find(kBetween);
  const std::string merges =
      at == std::string::npos
          ? ""
          : bytes.substr(at + std::string_view(kBetween).size());
  fs::create_directories(scratch() / "gpt2");
  as_file("gpt2/vocab.json", bytes.substr(0, at));
  as_file("gpt2/merges.txt", merges);
  use(*load_tokenizer((scratch() / "gpt2").string()));
}

// One text as each of the files beside a tokenizer.
std::vector<std::string> border_seeds() {
  return {R"({"eos_token_id": [262, 263], "eos_token": {"content": "hello"}})",
          R"({"eos_token_id": -1, "eos_token": "<|endoftext|>",
          "bos_token": "he", "add_bos_token": true,
          "added_tokens_decoder": {}})"};
}

void read_borders(const std::string& bytes) {
  const fs::path folder = scratch() / "borders";
  fs::create_directories(folder);
  as_file("borders/tokenizer.json", tiny_tokenizer_json().dump());
  for (const char* file :
       {"borders/generation_config.json", "borders/config.json",
        "borders/tokenizer_config.json", "borders/special_tokens_map.json"}) {
    as_file(file, bytes);
  }
  document_borders(*load_tokenizer(folder.string()));
}

std::vector<std::string> token_seeds() {
  using Borders = std::optional<data::PutBorders>;
  const auto tokens = [](int64_t vocab_size, const Borders& borders) {
    return written("seed.tokens", [&](const fs::path& path) {
      data::TokenFileWriter writer(
          path, {vocab_size, sha256_of("tok"), sha256_of("in"), borders});
      writer.append(std::vector<int32_t>{1, 2, 3}, 9);
      writer.append(std::vector<int32_t>{4}, 2);
      writer.commit();
    });
  };
  return {tokens(300, {}), tokens(1 << 20, data::PutBorders{{1}, {3, 4}})};
}

void read_tokens(const std::string& bytes) {
  const data::TokenFile file(as_file("input.tokens", bytes));
  std::vector<int64_t> ids(static_cast<size_t>(file.token_count()));
  file.read(0, ids);
}

// Reads the bytes as a file of this name.
void read_text(const char* name, const std::string& bytes) {
  data::TextNotes notes;
  data::for_each_document(as_file(name, bytes), {}, notes,
                          [](std::string_view) {});
}

std::vector<std::string> lines_seeds() {
  return {"{\"text\": \"one\"}\n\n{\"text\": \"t\\u00f6\", \"x\": [1]}\n",
          "{\"text\": 7}\n", "{\"text\": \"\\ud800\"}\n",
          "{\"x\": [NaN, -Infinity, 1e999], \"text\": "
          "\"\\udfff\\ud83d\\ude42\"}\n"};
}

void read_lines(const std::string& bytes) { read_text("input.jsonl", bytes); }

std::vector<std::string> packed_seeds() {
  return {written("seed.txt.gz", [](const fs::path& path) {
    gzFile file = gzopen(path.c_str(), "wb");
    gzputs(file, "some text that is packed, that is packed");
    gzclose(file);
  })};
}

void read_packed(const std::string& bytes) { read_text("input.txt.gz", bytes); }

std::vector<std::string> zstd_seeds() {
  const std::string text = "some text that is packed, that is packed";
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(
      ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  const std::string skipped("\x50\x2a\x4d\x18\x02\0\0\0zz", 10);
  return {packed, packed + skipped + packed};
}

void read_zstd(const std::string& bytes) { read_text("input.txt.zst", bytes); }

std::vector<std::string> parquet_seeds() {
  return {plain_parquet(), packed_parquet()};
}

void read_parquet(const std::string& bytes) {
  read_text("input.parquet", bytes);
}

}  // namespace

std::vector<Target> text_targets() {
  return {{"tokenizer", tokenizer_seeds, read_tokenizer},
          {"vocabulary", vocabulary_seeds, read_vocabulary},
          {"sentencepiece", sentencepiece_seeds, read_sentencepiece_model},
          {"tekken", tekken_seeds, read_tekken_json},
          {"tiktoken", tiktoken_seeds, read_tiktoken_lines},
          {"borders", border_seeds, read_borders},
          {"tokens", token_seeds, read_tokens},
          {"lines", lines_seeds, read_lines},
          {"packed", packed_seeds, read_packed},
          {"zstd", zstd_seeds, read_zstd},
          {"parquet", parquet_seeds, read_parquet}};
}

}  // namespace annuli::fuzz

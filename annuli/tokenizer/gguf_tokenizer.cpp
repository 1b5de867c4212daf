#include "annuli/tokenizer/gguf_tokenizer.h"

#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"
#include "annuli/tokenizer/bytes_tokenizer.h"
#include "annuli/tokenizer/llama_cpp_splits.h"
#include "annuli/tokenizer/sentencepiece_tokenizer.h"
#include "annuli/tokenizer/tokenizer_files.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

using Type = SentencePieceModel::Type;  // ggml's numbers are the same

class GgufVocabulary {
 public:
  explicit GgufVocabulary(const fs::path& path)
      : mapped_(path), file_(mapped_.bytes(), path.string()) {
    kind_ = file_.text("tokenizer.ggml.model", "");
    if (kind_ != "gpt2" && kind_ != "llama") {
      refuse(kind_.empty() ? "no tokenizer" : "the kind " + quote(kind_),
             "gpt2 or llama");
    }
    tokens_ = file_.texts("tokenizer.ggml.tokens");
    types_ = numbers("tokenizer.ggml.token_type");
    check_tokens();
  }

  bool is_sentencepiece() const { return kind_ == "llama"; }
  std::string hash() const { return file_.text(kGgufTokenizerHash, ""); }

  [[noreturn]] void refuse(const std::string& found,
                           const std::string& expected) const {
    user_error(
        "reading the tokenizer of {}: found {}, expected {}; give one with "
        "--tokenizer",
        file_.path(), found, expected);
  }

  // `nfc`: what llama.cpp leaves out of Qwen's.
  Json tokenizer_json(bool nfc) const {
    const std::string pre = file_.text("tokenizer.ggml.pre", "");
    const auto split = find_llama_cpp_split(pre);
    if (!split) {
      refuse("the split " + quote(pre),
             "that of GPT-2, Llama 3, Qwen 2, SmolLM or OLMo 2");
    }
    Json vocabulary = Json::object();
    Json added = Json::array();
    for (size_t id = 0; id < tokens_.size(); ++id) {
      const Type type = type_of(id);
      const std::string token(tokens_[id]);
      if (type == Type::kControl || type == Type::kUserDefined) {
        added.push_back(added_token(token, id, type == Type::kControl));
      } else if (type != Type::kUnused) {
        vocabulary[token] = id;
      }
    }
    Json json = {{"version", "1.0"},
                 {"truncation", nullptr},
                 {"padding", nullptr},
                 {"added_tokens", std::move(added)},
                 {"normalizer", nfc ? Json{{"type", "NFC"}} : Json()},
                 {"pre_tokenizer", split->pre_tokenizer},
                 {"post_processor", post_processor()},
                 {"decoder",
                  {{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", false},
                   {"use_regex", false}}}};
    json["model"] = {{"type", "BPE"},
                     {"dropout", nullptr},
                     {"unk_token", nullptr},
                     {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false},
                     {"byte_fallback", false},
                     {"ignore_merges", split->whole_words},
                     {"vocab", std::move(vocabulary)},
                     {"merges", merges()}};
    return json;
  }

  bool is_qwen() const {
    return file_.text("tokenizer.ggml.pre", "") == "qwen2";
  }

  SentencePieceModel sentencepiece() const {
    SentencePieceModel model;
    model.source = file_.path();
    model.kind = SentencePieceModel::Kind::kBpe;
    model.add_dummy_prefix =
        file_.flag("tokenizer.ggml.add_space_prefix", true);
    model.remove_extra_whitespaces = false;
    const std::vector<double> scores = numbers("tokenizer.ggml.scores");
    size_t count = tokens_.size();
    while (count > 0 && type_of(count - 1) == Type::kUnused) --count;
    for (size_t id = 0; id < count; ++id) {
      model.pieces.push_back({.text = std::string(tokens_[id]),
                              .score = static_cast<float>(scores[id]),
                              .type = type_of(id)});
      model.byte_fallback = model.byte_fallback || type_of(id) == Type::kByte;
    }
    if (const auto begin = special("bos")) model.begin_piece = *begin;
    if (const auto end = special("eos")) model.end_piece = *end;
    return model;
  }

  // A special token that the keys name by its id, and its text.
  std::optional<int64_t> special_id(const char* which) const {
    const int64_t id =
        file_.whole(fmt::format("tokenizer.ggml.{}_token_id", which), -1);
    const bool known = id >= 0 && std::cmp_less(id, tokens_.size());
    return known ? std::optional(id) : std::nullopt;
  }
  std::optional<std::string> special(const char* which) const {
    const auto id = special_id(which);
    if (!id) return std::nullopt;
    return std::string(tokens_[static_cast<size_t>(*id)]);
  }
  // Whether it stands for no text: a file may name an ordinary token.
  bool is_control(const char* which) const {
    const auto id = special_id(which);
    return id && type_of(static_cast<size_t>(*id)) == Type::kControl;
  }

  // Llama's begins a text and does not end it.
  bool adds(const char* which) const {
    const bool by_default =
        is_sentencepiece() && std::string_view(which) == kBegin;
    return file_.flag(fmt::format("tokenizer.ggml.add_{}_token", which),
                      by_default);
  }

  std::string chat_template() const {
    return file_.text("tokenizer.chat_template", "");
  }

  static constexpr const char* kBegin = "bos";
  static constexpr const char* kEnd = "eos";

 private:
  std::vector<double> numbers(const char* key) const {
    std::vector<double> values = file_.numbers(key);
    if (values.size() == tokens_.size()) return values;
    refuse(fmt::format("{} entries of {}", values.size(), key),
           fmt::format("{}, one for each token", tokens_.size()));
  }

  void check_tokens() const {
    std::set<std::string_view> seen;
    for (size_t id = 0; id < tokens_.size(); ++id) {
      const double type = types_[id];
      if (!(type >= 1 && type <= 6) || type != static_cast<int>(type)) {
        refuse(fmt::format("token {} of type {}", id, type), "1 to 6");
      }
      const std::string_view token = tokens_[id];
      if (valid_utf8_end(token, 0) != token.size()) {
        refuse(fmt::format("token {}, which is not UTF-8", id), "UTF-8");
      }
      if (type_of(id) == Type::kUnused || seen.insert(token).second) continue;
      refuse("token " + quote(token) + " twice", "it once");
    }
  }

  Type type_of(size_t id) const {
    return static_cast<Type>(static_cast<int>(types_[id]));
  }

  static Json added_token(const std::string& content, size_t id, bool special) {
    return {{"id", id},          {"content", content}, {"single_word", false},
            {"lstrip", false},   {"rstrip", false},    {"normalized", !special},
            {"special", special}};
  }

  Json merges() const {
    Json merges = Json::array();
    if (file_.find("tokenizer.ggml.merges") == nullptr) return merges;
    for (const std::string_view merge : file_.texts("tokenizer.ggml.merges")) {
      if (valid_utf8_end(merge, 0) != merge.size()) {
        refuse("a merge that is not UTF-8", "UTF-8");
      }
      merges.push_back(merge);
    }
    return merges;
  }

  Json post_processor() const {
    Json single = Json::array();
    Json tokens = Json::object();
    const auto add = [&](const char* which) {
      const auto id = special_id(which);
      if (!adds(which) || !id) return;
      const std::string token = *special(which);
      single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
      tokens[token] = {{"id", token},
                       {"ids", Json::array({*id})},
                       {"tokens", Json::array({token})}};
    };
    add(kBegin);
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    add(kEnd);
    if (tokens.empty()) return {};
    Json pair = single;
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(tokens)}};
  }

  MappedFile mapped_;
  gguf::File file_;
  std::string kind_;
  std::vector<std::string_view> tokens_;
  std::vector<double> types_;
};

[[noreturn]] void refuse_other(const GgufVocabulary& from) {
  from.refuse("a tokenizer that has lost what llama.cpp has no place for",
              "the one that the model was exported with");
}

// The one that the hash is of, where the file says it.
Json json_of(const GgufVocabulary& from, const fs::path& path) {
  if (from.is_sentencepiece()) from.refuse("SentencePiece", "byte-level BPE");
  const std::string hash = from.hash();
  if (hash.empty()) return from.tokenizer_json(from.is_qwen());
  for (const bool nfc : {false, true}) {
    if (nfc && !from.is_qwen()) continue;
    Json json = from.tokenizer_json(nfc);
    const PipelineTokenizer made(tokenizer_from_json(json, path.string()));
    if (made.hash() == hash) return json;
  }
  if (BytesTokenizer().hash() == hash) return from.tokenizer_json(false);
  refuse_other(from);
}

std::unique_ptr<Tokenizer> sentencepiece_of(const GgufVocabulary& from) {
  SentencePieceSettings settings;
  settings.begin = from.adds(GgufVocabulary::kBegin);
  settings.end = from.adds(GgufVocabulary::kEnd);
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(
      from.sentencepiece(), std::move(settings));
  const std::string hash = from.hash();
  if (!hash.empty() && hash != tokenizer->hash()) refuse_other(from);
  return tokenizer;
}

}  // namespace

std::unique_ptr<Tokenizer> read_gguf_tokenizer(const fs::path& path) {
  const GgufVocabulary from(path);
  if (from.is_sentencepiece()) return sentencepiece_of(from);
  auto bytes = std::make_unique<BytesTokenizer>();
  if (bytes->hash() == from.hash()) return bytes;
  return std::make_unique<PipelineTokenizer>(
      tokenizer_from_json(json_of(from, path), path.string()));
}

TokenizerDefinition read_gguf_definition(const fs::path& path) {
  const GgufVocabulary from(path);
  return tokenizer_from_json(json_of(from, path), path.string());
}

SentencePieceModel read_gguf_sentencepiece(const fs::path& path) {
  const GgufVocabulary from(path);
  if (!from.is_sentencepiece()) from.refuse("byte-level BPE", "SentencePiece");
  return from.sentencepiece();
}

SpecialTokenFiles read_gguf_special_tokens(const fs::path& path) {
  const GgufVocabulary from(path);
  SpecialTokenFiles tokens;
  tokens.config_bos_token = from.special(GgufVocabulary::kBegin);
  if (const auto end = from.special_id(GgufVocabulary::kEnd)) {
    tokens.config_eos = {*end};
  }
  tokens.add_bos_token = from.adds(GgufVocabulary::kBegin);
  return tokens;
}

std::string read_gguf_chat_template(const fs::path& path) {
  return GgufVocabulary(path).chat_template();
}

std::vector<NamedText> gguf_tokenizer_files(const fs::path& path) {
  const GgufVocabulary from(path);
  std::vector<NamedText> files;
  Json config = {{"add_bos_token", from.adds(GgufVocabulary::kBegin)},
                 {"add_eos_token", from.adds(GgufVocabulary::kEnd)},
                 {"clean_up_tokenization_spaces", false}};
  if (from.is_sentencepiece()) {
    sentencepiece_of(from);
    files.push_back(
        {"tokenizer.model", sentencepiece_message(from.sentencepiece())});
    config["tokenizer_class"] = "LlamaTokenizer";
  } else {
    files.push_back({"tokenizer.json", json_of(from, path).dump()});
    config["tokenizer_class"] = "PreTrainedTokenizerFast";
  }
  for (const char* which : {GgufVocabulary::kBegin, GgufVocabulary::kEnd}) {
    if (from.is_control(which)) {
      config[fmt::format("{}_token", which)] = *from.special(which);
    }
  }
  const std::string chat = from.chat_template();
  if (!chat.empty()) config["chat_template"] = chat;
  files.push_back({"tokenizer_config.json", pretty(config)});
  return files;
}

}  // namespace annuli

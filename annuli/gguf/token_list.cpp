#include "annuli/gguf/token_list.h"

#include <fmt/core.h>

#include <map>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/quote.h"
#include "annuli/tokenizer/bpe_model.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/gguf_tokenizer.h"
#include "annuli/tokenizer/llama_cpp_splits.h"
#include "annuli/tokenizer/sentencepiece_tokenizer.h"
#include "annuli/tokenizer/tokenizer_files.h"

namespace annuli::gguf {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& source, const std::string& found,
                         const char* expected) {
  user_error("exporting the tokenizer {}: found {}, expected {}", source, found,
             expected);
}

void set(TokenList& list, int64_t id, std::string token, TokenType type) {
  const auto place = static_cast<size_t>(id);
  if (place >= list.tokens.size()) {
    list.tokens.resize(place + 1);
    list.types.resize(place + 1, static_cast<int32_t>(TokenType::kUnused));
  }
  list.tokens[place] = std::move(token);
  list.types[place] = static_cast<int32_t>(type);
}

TokenList of_bytes(const Tokenizer& tokenizer) {
  TokenList list{.pre = "gpt-2"};
  for (int byte = 0; byte < 256; ++byte) {
    set(list, byte, spell_byte(static_cast<unsigned char>(byte)),
        TokenType::kNormal);
  }
  const int32_t end = *tokenizer.end_of_text();
  set(list, end, std::string(tokenizer.token_bytes(end)), TokenType::kControl);
  return list;
}

// ggml numbers the types as SentencePiece does.
TokenList of_sentencepiece(const SentencePieceModel& model) {
  if (model.kind != SentencePieceModel::Kind::kBpe) {
    refuse(model.source, "a Unigram model", "BPE");
  }
  TokenList list{.model = "llama", .add_space_prefix = model.add_dummy_prefix};
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    list.tokens.push_back(piece.text);
    list.types.push_back(static_cast<int32_t>(piece.type));
    list.scores.push_back(piece.score);
  }
  return list;
}

TokenList tokens_of(const TokenizerDefinition& definition) {
  TokenList list;
  for (const auto& [token, id] : definition.vocabulary) {
    set(list, id, token, TokenType::kNormal);
  }
  for (const AddedToken& token : definition.added_tokens) {
    set(list, token.id, token.content,
        token.special ? TokenType::kControl : TokenType::kUserDefined);
  }
  return list;
}

TokenList of_byte_level(const TokenizerDefinition& definition,
                        const BpeDefinition& bpe) {
  TokenList list = tokens_of(definition);
  const std::string stages = definition.pre_tokenizer.description();
  list.pre = llama_cpp_split_name(stages, bpe.ignore_merges);
  if (list.pre.empty()) {
    refuse(definition.source, "the split " + quote(stages),
           "that of GPT-2, Llama 3, Qwen 2, SmolLM or OLMo 2, which llama.cpp "
           "knows");
  }
  for (const auto& [left, right] : bpe.merges) {
    list.merges.push_back(left + " " + right);
  }
  return list;
}

// What SentencePiece's BPE became in a tokenizer.json: merges in the order of
// the scores. A piece's score is the negative place of its first merge.
TokenList of_byte_fallback(const TokenizerDefinition& definition,
                           const Tokenizer& tokenizer,
                           const BpeDefinition& bpe) {
  const std::string unknown = bpe.unk_token.value_or("");
  if (!bpe.byte_fallback || unknown.empty()) {
    refuse(definition.source, "a BPE of characters without bytes for the rest",
           "byte-level BPE, or byte_fallback with an unk_token");
  }
  TokenList list = tokens_of(definition);
  list.model = "llama";
  list.scores.resize(list.tokens.size());
  std::map<std::string, float> scores;
  for (size_t i = 0; i < bpe.merges.size(); ++i) {
    const auto& [left, right] = bpe.merges[i];
    scores.try_emplace(left + right, -static_cast<float>(i));
  }
  for (size_t id = 0; id < list.tokens.size(); ++id) {
    const std::string& token = list.tokens[id];
    const auto found = scores.find(token);
    if (found != scores.end()) list.scores[id] = found->second;
    const bool is_byte = token.size() == 6 && token.starts_with("<0x");
    if (token == unknown) {
      list.types[id] = static_cast<int32_t>(TokenType::kUnknown);
    } else if (is_byte) {
      list.types[id] = static_cast<int32_t>(TokenType::kByte);
    }
  }
  const std::vector<int32_t> ids = tokenizer.encode("a");
  list.add_space_prefix =
      !ids.empty() && list.tokens[static_cast<size_t>(ids.front())].starts_with(
                          kSentencePieceSpace);
  return list;
}

TokenizerDefinition definition_in(const fs::path& place) {
  if (fs::is_directory(place)) return read_vocab_and_merges(place);
  return is_gguf_file(place) ? read_gguf_definition(place)
                             : read_tokenizer_json(place);
}

// The definition is read once more: a tokenizer lets its vocabulary go.
TokenList of_bpe(const Tokenizer& tokenizer, const fs::path& place) {
  const auto* pipeline = dynamic_cast<const PipelineTokenizer*>(&tokenizer);
  const auto* model =
      pipeline ? dynamic_cast<const BpeModel*>(&pipeline->model()) : nullptr;
  if (model == nullptr) {
    refuse(place.string(), "a file without merges",
           "a tokenizer.json of BPE; tiktoken's and tekken's files have none");
  }
  const TokenizerDefinition definition = definition_in(place);
  return definition.pre_tokenizer.byte_level()
             ? of_byte_level(definition, model->definition())
             : of_byte_fallback(definition, tokenizer, model->definition());
}

}  // namespace

TokenList token_list(const Tokenizer& tokenizer) {
  const fs::path place = tokenizer.name();
  if (place == "bytes") return of_bytes(tokenizer);
  if (dynamic_cast<const SentencePieceTokenizer*>(&tokenizer) != nullptr) {
    return of_sentencepiece(is_gguf_file(place) ? read_gguf_sentencepiece(place)
                                                : read_sentencepiece(place));
  }
  return of_bpe(tokenizer, place);
}

}  // namespace annuli::gguf

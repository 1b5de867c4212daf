#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/tokenizer/tokenizer.h"

// A tokenizer's tokens by id, as llama.cpp wants them told.
namespace annuli::gguf {

enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct TokenList {
  std::string_view model = "gpt2";   // "llama": by scores
  std::string_view pre = "default";  // the split pattern, of gpt2
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;        // of llama
  std::vector<std::string> merges;  // of gpt2, "a b"
  bool add_space_prefix = false;
};

// See vocabulary.h.
TokenList token_list(const Tokenizer& tokenizer);

}  // namespace annuli::gguf

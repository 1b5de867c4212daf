#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "annuli/core/json.h"

// The split patterns of byte-level BPE that llama.cpp knows by name, as far as
// we have them: for writing and for reading GGUF.
namespace annuli {

struct LlamaCppSplit {
  std::string_view name;
  bool whole_words = false;  // takes words that are tokens first: ignore_merges
  Json pre_tokenizer;        // as tokenizer.json has it
};

// The name, from what PreTokenizer::description says; "" if it has none.
// `whole_words`: llama.cpp does so by the pattern's name alone.
std::string_view llama_cpp_split_name(const std::string& description,
                                      bool whole_words);

std::optional<LlamaCppSplit> find_llama_cpp_split(std::string_view name);

}  // namespace annuli

#pragma once

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/byte_alphabet.h"

// A tokenizer small enough to follow by hand: id = byte for 0 to 255, then
// one token per merge, then the special tokens.
namespace annuli {

inline const std::vector<std::pair<std::string, std::string>>& tiny_merges() {
  static const std::vector<std::pair<std::string, std::string>> kMerges = {
      {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"},
      {"Ġ", "w"}, {"o", "r"}, {"Ġ", "Ġ"}};
  return kMerges;
}

constexpr int32_t kTinyHello = 259;
constexpr int32_t kTinyEnd = 263;

// As a tokenizer.json, GPT-2's split pattern.
inline Json tiny_tokenizer_json() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[spell_byte(static_cast<unsigned char>(byte))] = byte;
  }
  Json merges = Json::array();
  int32_t id = 256;
  for (const auto& [left, right] : tiny_merges()) {
    vocabulary[left + right] = id++;
    merges.push_back({left, right});
  }
  vocabulary["<|endoftext|>"] = id;
  return {
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"},
        {"add_prefix_space", false},
        {"use_regex", true}}},
      {"added_tokens", Json::array({{{"id", id},
                                     {"content", "<|endoftext|>"},
                                     {"special", true},
                                     {"normalized", false}}})}};
}

}  // namespace annuli

#include <array>
#include <string>
#include <utility>

#include "annuli/core/json.h"
#include "annuli/gguf/token_list.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli::gguf {
namespace {

// A split pattern as tokenizer.json has it.
std::string split(const std::string& digits) {
  const Json pattern = {
      {"type", "Split"},
      {"pattern",
       {{"Regex",
         R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits +
             R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"},
      {"invert", false}};
  return pattern.dump();
}

std::string description_of(const std::string& first, bool use_regex) {
  const Json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"use_regex", use_regex}};
  Json sequence = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
  if (!first.empty()) sequence["pretokenizers"].push_back(Json::parse(first));
  sequence["pretokenizers"].push_back(bytes);
  PreTokenizer stages;
  read_pre_tokenizer(FieldReader("a pattern of llama.cpp"), sequence, stages);
  return stages.description();
}

}  // namespace

std::string_view pattern_name(const std::string& description,
                              bool whole_words) {
  if (description == description_of(split(R"(\p{N}{1,3})"), false)) {
    return whole_words ? "llama-bpe" : "dbrx";
  }
  if (whole_words) return "";  // llama.cpp does so by the pattern's name alone
  if (description == description_of(split(R"(\p{N})"), false)) return "qwen2";
  if (description == description_of("", true)) return "gpt-2";
  const std::string digits = R"({"type": "Digits", "individual_digits": true})";
  if (description == description_of(digits, true)) return "smollm";
  return "";
}

}  // namespace annuli::gguf

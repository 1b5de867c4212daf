#include "annuli/tokenizer/llama_cpp_splits.h"

#include <vector>

#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

Json split(const std::string& digits) {
  return {
      {"type", "Split"},
      {"pattern",
       {{"Regex",
         R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits +
             R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"},
      {"invert", false}};
}

// `first`, if it is anything, then bytes.
Json sequence(const Json& first, bool use_regex) {
  const Json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", false},
                      {"use_regex", use_regex}};
  Json stages = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
  if (!first.is_null()) stages["pretokenizers"].push_back(first);
  stages["pretokenizers"].push_back(bytes);
  return stages;
}

const std::vector<LlamaCppSplit>& splits() {
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  static const std::vector<LlamaCppSplit> all = {
      {"llama-bpe", true, sequence(split(R"(\p{N}{1,3})"), false)},
      {"dbrx", false, sequence(split(R"(\p{N}{1,3})"), false)},
      {"qwen2", false, sequence(split(R"(\p{N})"), false)},
      {"gpt-2", false, sequence(nullptr, true)},
      {"smollm", false, sequence(digits, true)},
  };
  return all;
}

std::string description_of(const Json& pre_tokenizer) {
  PreTokenizer stages;
  read_pre_tokenizer(FieldReader("a pattern of llama.cpp"), pre_tokenizer,
                     stages);
  return stages.description();
}

}  // namespace

std::string_view llama_cpp_split_name(const std::string& description,
                                      bool whole_words) {
  for (const LlamaCppSplit& one : splits()) {
    if (one.whole_words == whole_words &&
        description_of(one.pre_tokenizer) == description) {
      return one.name;
    }
  }
  return "";
}

std::optional<LlamaCppSplit> find_llama_cpp_split(std::string_view name) {
  for (const LlamaCppSplit& one : splits()) {
    if (one.name == name) return one;
  }
  return std::nullopt;
}

}  // namespace annuli

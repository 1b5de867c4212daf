#include "annuli/tokenizer/llama_cpp_splits.h"

#include <gtest/gtest.h>

#include "annuli/tokenizer/pre_tokenizer.h"

namespace annuli {
namespace {

TEST(LlamaCppSplits, IsThatOfTheSplit) {
  PreTokenizer gpt2;
  gpt2.add_split(PreTokenizer::kGpt2Pattern);
  gpt2.add_byte_alphabet();
  EXPECT_EQ(llama_cpp_split_name(gpt2.description(), false), "gpt-2");
  EXPECT_EQ(llama_cpp_split_name(gpt2.description(), true), "");

  PreTokenizer llama;
  llama.add_split(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
      R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
  llama.add_byte_alphabet();
  EXPECT_EQ(llama_cpp_split_name(llama.description(), true), "llama-bpe");
  EXPECT_EQ(llama_cpp_split_name(llama.description(), false), "dbrx");

  PreTokenizer other;
  other.add_split(R"(\w+)");
  other.add_byte_alphabet();
  EXPECT_EQ(llama_cpp_split_name(other.description(), false), "");

  PreTokenizer prefixed;
  prefixed.add_prefix_space();
  prefixed.add_split(PreTokenizer::kGpt2Pattern);
  prefixed.add_byte_alphabet();
  EXPECT_EQ(llama_cpp_split_name(prefixed.description(), false), "");
}

}  // namespace
}  // namespace annuli

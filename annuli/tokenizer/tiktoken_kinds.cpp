#include "annuli/tokenizer/tiktoken_kinds.h"

#include <fmt/core.h>

#include "annuli/tokenizer/pre_tokenizer.h"

namespace annuli {
namespace {

constexpr const char* kContractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
constexpr const char* kSpaces = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

// cl100k, Llama 3 and Qwen differ in what is a letter and how many digits
// stand together.
std::string cl100k_pattern(const std::string& letters,
                           const std::string& no_letters,
                           const std::string& digits) {
  return kContractions + (R"(|[^\r\n\p{L}\p{N}]?)" + letters + "|" + digits) +
         R"(| ?[^\s)" + no_letters + R"(\p{N}]+[\r\n]*)" + kSpaces;
}

std::string o200k_pattern() {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])";
  const std::string lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string before = R"([^\r\n\p{L}\p{N}]?)";
  const std::string after = std::string(kContractions) + "?|";
  return before + upper + "*" + lower + "+" + after + before + upper + "+" +
         lower + "*" + after + R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" +
         kSpaces;
}

using Special = std::vector<std::pair<std::string, int32_t>>;

Special in_a_row(int32_t first, std::vector<std::string> names) {
  Special special;
  for (std::string& name : names)
    special.emplace_back(std::move(name), first++);
  return special;
}

TiktokenKind qwen() {
  std::vector<std::string> names = {"<|endoftext|>", "<|im_start|>",
                                    "<|im_end|>"};
  for (int i = 0; i < 205; ++i) names.push_back(fmt::format("<|extra_{}|>", i));
  return {.name = "Qwen",
          .tokens = 151643,
          .pattern = cl100k_pattern(R"(\p{L}+)", R"(\p{L})", R"(\p{N})"),
          .normalize_nfc = true,
          .special = in_a_row(151643, std::move(names))};
}

TiktokenKind qwen_3_5() {
  return {.name = "Qwen 3.5",
          .tokens = 248044,
          .pattern =
              cl100k_pattern(R"([\p{L}\p{M}]+)", R"(\p{L}\p{M})", R"(\p{N})"),
          .normalize_nfc = true,
          .special = in_a_row(248044, {"<|endoftext|>",
                                       "<|im_start|>",
                                       "<|im_end|>",
                                       "<|object_ref_start|>",
                                       "<|object_ref_end|>",
                                       "<|box_start|>",
                                       "<|box_end|>",
                                       "<|quad_start|>",
                                       "<|quad_end|>",
                                       "<|vision_start|>",
                                       "<|vision_end|>",
                                       "<|vision_pad|>",
                                       "<|image_pad|>",
                                       "<|video_pad|>",
                                       "<tool_call>",
                                       "</tool_call>",
                                       "<|fim_prefix|>",
                                       "<|fim_middle|>",
                                       "<|fim_suffix|>",
                                       "<|fim_pad|>",
                                       "<|repo_name|>",
                                       "<|file_sep|>",
                                       "<tool_response>",
                                       "</tool_response>",
                                       "<think>",
                                       "</think>",
                                       "<|audio_start|>",
                                       "<|audio_end|>",
                                       "<tts_pad>",
                                       "<tts_text_bos>",
                                       "<tts_text_eod>",
                                       "<tts_text_bos_single>",
                                       "<|audio_pad|>"})};
}

// Meta's own file, which is called tokenizer.model.
TiktokenKind llama_3() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|reserved_special_token_2|>",
                                    "<|reserved_special_token_3|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|reserved_special_token_4|>",
                                    "<|eot_id|>"};
  for (int i = 5; i < 251; ++i) {
    names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  }
  return {.name = "Llama 3",
          .tokens = 128000,
          .pattern = cl100k_pattern(R"(\p{L}+)", R"(\p{L})", R"(\p{N}{1,3})"),
          .special = in_a_row(128000, std::move(names)),
          .begin = 128000};
}

TiktokenKind cl100k() {
  return {.name = "cl100k_base",
          .tokens = 100256,
          .pattern = cl100k_pattern(R"(\p{L}+)", R"(\p{L})", R"(\p{N}{1,3})"),
          .special = {{"<|endoftext|>", 100257},
                      {"<|fim_prefix|>", 100258},
                      {"<|fim_middle|>", 100259},
                      {"<|fim_suffix|>", 100260},
                      {"<|endofprompt|>", 100276}}};
}

TiktokenKind o200k() {
  return {.name = "o200k_base",
          .tokens = 199998,
          .pattern = o200k_pattern(),
          .special = {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}};
}

// GPT-2's vocabulary, and the one for code, whose ranks leave out 50256.
TiktokenKind gpt2(const char* name, size_t tokens) {
  return {.name = name,
          .tokens = tokens,
          .pattern = PreTokenizer::kGpt2Pattern,
          .special = {{"<|endoftext|>", 50256}}};
}

}  // namespace

const std::vector<TiktokenKind>& tiktoken_kinds() {
  static const std::vector<TiktokenKind> kKinds = {qwen(),
                                                   qwen_3_5(),
                                                   llama_3(),
                                                   cl100k(),
                                                   o200k(),
                                                   gpt2("r50k_base", 50256),
                                                   gpt2("p50k_base", 50280)};
  return kKinds;
}

}  // namespace annuli

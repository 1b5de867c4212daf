#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/tokenizer/tokenizer.h"

// What the files beside a tokenizer say of the tokens that begin and end a
// text.
namespace annuli {

struct SpecialTokenFiles {
  // Of the model: one id, or a list.
  std::vector<int64_t> generation_eos;  // generation_config.json
  std::vector<int64_t> config_eos;      // config.json
  // Of the tokenizer: the text of a token.
  std::optional<std::string> config_bos_token;  // tokenizer_config.json
  std::optional<std::string> config_eos_token;
  std::optional<std::string> map_bos_token;  // special_tokens_map.json
  std::optional<std::string> map_eos_token;
  // tokenizer_config.json lists its added tokens: special_tokens_map.json is
  // what older versions wrote, and transformers does not look at it.
  bool map_is_old = false;
  bool add_bos_token = false;
};

// The folder that a tokenizer was read from: files in it that are named as in a
// model's folder belong to it. A GGUF file is its own: it says all of that
// itself. Empty for `bytes` and for a file that has a name of its own,
// `gpt2.json`.
fs::path folder_of(const Tokenizer& tokenizer);

// Files that are absent say nothing. UserError: one that cannot be read, or a
// field that holds no id and no token.
SpecialTokenFiles read_special_token_files(const fs::path& tokenizer_folder,
                                           const fs::path& model_folder);

}  // namespace annuli

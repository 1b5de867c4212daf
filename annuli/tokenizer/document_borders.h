#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/tokenizer/tokenizer.h"

// The tokens that stand before and after a text.
//
// begin   what Python's add_special_tokens puts before a text: the
//         post-processor's. Without a tokenizer.json also `bos_token`, if
//         tokenizer_config.json says add_bos_token.
// end     what follows a document in pre-training. The post-processor's, if it
//         puts any; else one token: of those that the files name as an end the
//         one called <|endoftext|>, <|end_of_text|> or </s> (others of a list
//         end a turn of a chat), else the first of them: tokenizer_config.json
//         and special_tokens_map.json, config.json, generation_config.json.
//         Files that name none: the token with one of those three names.
// stops   what ends a text that is generated, as in transformers: the ids of
//         generation_config.json, else of config.json, else the tokenizer's
//         eos_token; and `end`, since documents end with it.
//
// An ordinary token that a file names as an end (a newline; the default of a
// config that was made for another tokenizer) stops generation and ends no
// document. A token that begins and ends a text is put once between documents,
// after each.
namespace annuli {

// What the user says instead: a token's text, its id, or "none"; "": nothing.
struct BorderChoice {
  std::string begin_token;
  std::string end_token;
};

struct DocumentBorders {
  std::vector<int32_t> begin;
  std::vector<int32_t> end;
  std::vector<int32_t> stops;
  // What the files name and the tokenizer does not have, what contradicts, and
  // that no end is known: a line each.
  std::vector<std::string> notices;

  // What is put before a document: `begin`, unless it is `end` too.
  const std::vector<int32_t>& before_document() const;
};

// `model_folder`: where generation_config.json and config.json are looked for;
// if it is empty, the tokenizer's folder. UserError: a choice that is no token,
// files that cannot be read.
DocumentBorders document_borders(const Tokenizer& tokenizer,
                                 const BorderChoice& choice = {},
                                 const fs::path& model_folder = {});

}  // namespace annuli

#pragma once

#include <filesystem>
#include <vector>

#include "annuli/tokenizer/added_tokens.h"
#include "annuli/tokenizer/json_fields.h"

// Added tokens that stand in files beside a vocabulary, as transformers writes
// them. Absent files say nothing.
namespace annuli {

// Those of tokenizer_config.json (`added_tokens_decoder`, with every flag), of
// added_tokens.json ({"token": id}), and the tokens of `vocabulary` that
// special_tokens_map.json or tokenizer_config.json call special (`eos_token`,
// ...). A token that two files give different ids is a UserError.
std::vector<AddedToken> read_added_token_files(
    const std::filesystem::path& folder, const Vocabulary& vocabulary);

// A token's flags and content, as tokenizer.json and added_tokens_decoder have
// them.
AddedToken added_token_of(const FieldReader& fields, const Json& json,
                          const Json& id);

}  // namespace annuli

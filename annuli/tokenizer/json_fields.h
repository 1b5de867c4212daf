#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/core/json.h"

// Pieces that both kinds of tokenizer files share. `where` names the file (and
// the place in it) for the UserError.
namespace annuli {

// {"token": id, ...}
std::vector<std::pair<std::string, int32_t>> vocabulary_of(
    const Json& json, const std::string& where);

// "left right"
std::pair<std::string, std::string> merge_of_line(std::string_view line,
                                                  const std::string& where);

// An id within int32; `token` names it in the error.
int32_t id_of(const Json& json, const std::string& token,
              const std::string& where);

}  // namespace annuli

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/json.h"

// Pieces of Markdown (GitHub's and the Hub's) from text that may be anything.
namespace annuli {

// For a cell or a line: one line, and nothing in it is markup.
std::string markdown_text(std::string_view text);

// As it is, as code, on one line.
std::string markdown_code(std::string_view text);

// As it is, on lines of its own; no run of backticks in it can end the block.
std::string markdown_block(std::string_view text);

// A number of an object in this format, or "-" where there is none.
std::string number_or_dash(const Json& of, const char* key, const char* format);

// The first row is the heading. Columns of numbers stand to the right, others
// to the left. Cells are Markdown already.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace annuli

#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "annuli/tokenizer/document_borders.h"

// Where documents begin and end, as verbs ask for it.
namespace annuli::cli {

// --begin-token and --end-token.
void add_border_choice(CLI::App& command, BorderChoice& choice);

// --split-at.
void add_split_at(CLI::App& command, std::string& split_at);

}  // namespace annuli::cli

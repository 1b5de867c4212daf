#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace annuli::cli {

// One line for a command line that could not be read: which word, what is near
// to it among the verbs or the verb's flags, and where the help is.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace annuli::cli

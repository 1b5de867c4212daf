#pragma once

#include <filesystem>
#include <string>

#include "annuli/core/json.h"

// JSON as Python's `json` writes and reads it, where it goes beyond the
// standard.
namespace annuli {

// `NaN`, `Infinity` and `-Infinity`, outside of strings, become
// {"__float__": "NaN"}, which is JSON and what transformers 5 writes for them.
// No number that is asked for is such an object, so that they only stand where
// nothing depends on them.
std::string without_special_floats(const std::string& json);

// The text of the file at `path`, which a UserError names.
Json parse_json_file(const std::filesystem::path& path,
                     const std::string& text);

// As `read_json`, special numbers included.
Json read_python_json(const std::filesystem::path& path);

}  // namespace annuli

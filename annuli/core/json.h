#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace annuli {

using Json = nlohmann::json;

// Whether more than 500 arrays and objects are open at once. What walks such a
// document recurses as deep, so it is asked of a text before it is parsed.
bool is_too_deep(std::string_view json);

// Parses a file; a UserError names the file and the place of a syntax error.
Json read_json(const std::filesystem::path& path);

// Pretty-printed, atomically.
void write_json(const std::filesystem::path& path, const Json& json);

}  // namespace annuli

#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace annuli {

using Json = nlohmann::json;

// Parses a file; a UserError names the file and the place of a syntax error.
Json read_json(const std::filesystem::path& path);

// Pretty-printed, atomically.
void write_json(const std::filesystem::path& path, const Json& json);

}  // namespace annuli

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace annuli {

// The process that has locked the file (flock), as this machine's kernel tells
// in /proc/locks: no lock is taken or tried, so nobody is disturbed. Nothing
// where there is no such file or lock, or where another machine holds it.
std::optional<int64_t> lock_holder(const std::filesystem::path& path);

}  // namespace annuli

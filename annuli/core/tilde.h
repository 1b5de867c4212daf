#pragma once

#include <filesystem>
#include <string_view>

namespace annuli {

// UserError "DOING PATH: ..." for a path that begins with `~`: a shell makes
// the home folder of it, if it stands there without quotes; nobody else does,
// and a folder of that name is a trap.
void refuse_tilde(const std::filesystem::path& path, std::string_view doing);

}  // namespace annuli

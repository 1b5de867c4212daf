#pragma once

#include <set>
#include <string>

#include "annuli/core/file.h"
#include "annuli/core/input_paths.h"

// What stands where a folder is to be written, and whether it may go.
namespace annuli {

// Whether anything has that name, a broken link included.
bool is_there(const fs::path& path);

// UserError for a path that no folder of ours can have, whoever made what is
// there: no name, a link, a file.
void check_output_name(const fs::path& path);

// What may be removed of the folder at `path`: all that lies in it, if it is
// ours (output_folder.h says when); nothing if it is empty or not there.
// UserError for any other, and for all of them without `replace`. `kind` is the
// manifest's.
std::set<std::string> replaceable(const fs::path& path, bool replace,
                                  const InputPaths& inputs, const char* kind);

}  // namespace annuli

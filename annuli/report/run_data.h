#pragma once

#include <filesystem>
#include <vector>

#include "annuli/core/json.h"

// What the page of runs shows, as one JSON document (docs/formats.md, "The page
// of a run"). It is made of the files of the run folders alone, which are only
// read: a run may be writing them meanwhile.
namespace annuli::report {

std::filesystem::path history_of(const std::filesystem::path& folder);

// UserError, one line, for what is no folder of a run.
void require_run(const std::filesystem::path& folder);

// Files of a run folder that are read, so that no output replaces one.
std::vector<std::filesystem::path> files_of_run(
    const std::filesystem::path& folder);

// UserError, one line, for a folder that is no run, and for a file in it that
// is not what a run writes. What an older run did not record is left out.
Json page_data(const std::vector<std::filesystem::path>& folders);

}  // namespace annuli::report

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "annuli/core/json.h"

// The small files of a run folder, as the page's data has them. A file that is
// not there gives an empty list; one that is broken is a UserError.
namespace annuli::report {

// verify/<phase>.json: a flat list of {"phase", "stage", "check", "aspect",
// "measured", "limit", "at_least", "outcome": "pass" | "fail" | "allowed" |
// "advice"} and, where there are any, "note", "layer", "tensor".
Json verdicts_of(const std::filesystem::path& folder,
                 const std::vector<std::string>& phases);

// lineage.json without recipes: {"operator", "arguments", "parents",
// "child", "passed", "of", "versions"}.
Json lineage_of(const std::filesystem::path& folder);

// sessions.jsonl: its lines (docs/formats.md), the last hundred of them. What
// is none of a session is left out.
Json sessions_of(const std::filesystem::path& folder);

// samples/<phase>.txt: {"phase", "prompt", "how", "text"}.
Json samples_of(const std::filesystem::path& folder,
                const std::vector<std::string>& phases);

}  // namespace annuli::report

#pragma once

#include "annuli/core/file.h"
#include "annuli/core/json.h"

// What `annuli inspect` says of a run and of a saved training state. Nothing is
// written, and no tensor is read: a run that is being written may be looked at.
namespace annuli::cli {

bool is_run_folder(const fs::path& path);
Json describe_run(const fs::path& folder);
void print_run(const Json& run);

Json describe_training_state(const fs::path& folder);
void print_training_state(const Json& state);

// One line a record: operator, arguments, seed, the hashes' beginnings, and how
// many verdicts passed.
void print_lineage(const Json& lineage);

}  // namespace annuli::cli

#pragma once

#include <filesystem>

#include "annuli/core/json.h"
#include "annuli/parallel/process_group.h"

// What a run was made by: program, machines, threads, and when. A run that was
// stopped and resumed has several sessions; none of it is part of the history,
// which is the same for all of them.
namespace annuli::run {

// The session that begins now. Collective: machines of one kind and host count
// as one entry with how many processes they run. Names of hosts are not told.
Json session_json(parallel::ProcessGroup& group);

// Adds a line to sessions.jsonl. The file is replaced, so that it is never
// half-written.
void append_session(const std::filesystem::path& path, const Json& session);

}  // namespace annuli::run

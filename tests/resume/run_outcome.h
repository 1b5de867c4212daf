#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "tests/cli/program.h"

// What a run left, in a form that two runs can be compared by.
namespace annuli::test {

struct RunOutcome {
  // The history without what differs from run to run: times, rates, memory.
  std::vector<Json> history;
  // Of lineage.json: the content hash of the model after every step of it.
  std::vector<std::string> hashes;
};

RunOutcome outcome_of(const std::filesystem::path& run);

// Arguments of `annuli run` for a plan, with its token cache under `scratch`.
std::vector<std::string> run_arguments(
    const std::string& plan, const std::filesystem::path& scratch,
    const std::string& folder, const std::vector<std::string>& more = {});

// Starts the program with these arguments and kills it (SIGKILL) as soon as the
// history holds `lines` lines, or lets it end. True if it was killed.
bool run_until(const std::vector<std::string>& arguments,
               const std::filesystem::path& history, size_t lines);

// The same as soon as `due` says so.
bool run_until(const std::vector<std::string>& arguments,
               const std::function<bool()>& due);

// The same with a signal that the program can answer: how it ended, and what it
// said on standard error. `scratch` is for the latter.
Outcome signal_at(const std::vector<std::string>& arguments,
                  const std::filesystem::path& history, size_t lines,
                  int signal, const std::filesystem::path& scratch);

// The same as run_until after so many milliseconds.
bool run_for(const std::vector<std::string>& arguments, int milliseconds);

}  // namespace annuli::test

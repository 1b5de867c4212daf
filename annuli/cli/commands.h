#pragma once

#include <CLI/CLI.hpp>

// The verbs, one file each. Every `add_x_command` declares its options and sets
// the callback that does the work; errors leave it as exceptions, which `main`
// turns into one line and an exit status.
namespace annuli::cli {

void add_run_command(CLI::App& app);

}  // namespace annuli::cli

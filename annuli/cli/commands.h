#pragma once

#include <CLI/CLI.hpp>

// The verbs, one file each. Every `add_x_command` declares its options and sets
// the callback that does the work; errors leave it as exceptions, which `main`
// turns into one line and an exit status.
namespace annuli::cli {

void add_completion_command(CLI::App& app);
void add_env_command(CLI::App& app);
void add_evaluate_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_grow_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_man_command(CLI::App& app);
void add_plan_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_study_command(CLI::App& app);
void add_advise_command(CLI::App& app);
void add_tokenize_command(CLI::App& app);
void add_verify_command(CLI::App& app);
void add_watch_command(CLI::App& app);

}  // namespace annuli::cli

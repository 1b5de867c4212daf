#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "annuli/checkpoint/lineage.h"
#include "annuli/cli/command_list.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/exit_status.h"
#include "annuli/cli/help_formatter.h"
#include "annuli/cli/usage_error.h"
#include "annuli/core/json.h"
#include "annuli/core/memory.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/kernels/threads.h"
#include "annuli/parallel/cores.h"
#include "annuli/parallel/failure_report.h"

namespace {

// An error is one line, whatever a library put into its text.
int fail(int status, std::string text, bool of_another = false) {
  using annuli::parallel::FailureOf;
  std::fflush(stdout);
  std::ranges::replace(text, '\n', ' ');
  const auto whose = of_another ? FailureOf::kAnother : FailureOf::kThis;
  if (annuli::parallel::report_failure(status, text, whose)) return status;
  const bool named = text.starts_with("annuli");
  fmt::print(stderr, "{}{}\n", named ? "" : "annuli: ", text);
  return status;
}

std::string version() {
  const annuli::Json versions = annuli::program_versions();
  return fmt::format("annuli {} (torch {})",
                     versions.at("annuli").get<std::string>(),
                     versions.at("torch").get<std::string>());
}

int run_verb(int argc, char** argv) {
  CLI::App app{"Annuli grows language models while they train.", "annuli"};
  app.formatter(std::make_shared<annuli::cli::HelpFormatter>());
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of all verbs");
  app.set_version_flag("--version", version(),
                       "Print the versions of the program and of LibTorch");
  app.footer("annuli VERB --help shows a verb's options and an example.");
  annuli::cli::add_run_command(app);
  annuli::cli::add_plan_command(app);
  annuli::cli::add_grow_command(app);
  annuli::cli::add_export_command(app);
  annuli::cli::add_verify_command(app);
  annuli::cli::add_inspect_command(app);
  annuli::cli::add_report_command(app);
  annuli::cli::add_study_command(app);
  annuli::cli::add_advise_command(app);
  annuli::cli::add_watch_command(app);
  annuli::cli::add_evaluate_command(app);
  annuli::cli::add_generate_command(app);
  annuli::cli::add_tokenize_command(app);
  annuli::cli::add_env_command(app);
  annuli::cli::add_completion_command(app);
  annuli::cli::add_man_command(app);
  for (CLI::App* verb : app.get_subcommands(nullptr)) verb->group("Verbs");
  app.add_flag_callback(
      "--commands",
      [&app] {
        throw CLI::CallForVersion(
            annuli::pretty(annuli::cli::command_list(app)), annuli::cli::kDone);
      },
      "Print every verb with its arguments and options as JSON, for programs");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail(annuli::cli::kInputWrong, annuli::cli::usage_error(app, error));
  }
  if (std::fflush(stdout) != 0) {
    return fail(
        annuli::cli::kInputWrong,
        std::string("writing to standard output: ") + std::strerror(errno));
  }
  return annuli::cli::kDone;
}

// Idle threads of libgomp spin for milliseconds, in the way of those that hash
// and write beside them: a third of the CPU time of `annuli grow`. How long is
// read once, when the library is loaded, so the program is started again. (If
// it cannot be, it goes on as it is.)
void spin_briefly(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "grow") return;
  for (const char* chosen : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}) {
    if (std::getenv(chosen) != nullptr) return;
  }
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error || ::setenv("GOMP_SPINCOUNT", "1000", 1) != 0) return;
  ::execv(program.c_str(), argv);
}

}  // namespace

int main(int argc, char** argv) {
  spin_briefly(argc, argv);
  // A file that grows beyond a limit is an error of writing, not the end.
  std::signal(SIGXFSZ, SIG_IGN);
  annuli::tune_malloc();
  annuli::keep_memory_for_unwinding();
#ifndef ANNULI_SANITIZED  // watches the borders of blocks that it serves
  annuli::kernels::use_caching_allocator();
#endif
  try {
    annuli::kernels::set_num_threads(
        static_cast<int>(annuli::parallel::default_threads()));
    return run_verb(argc, argv);
  } catch (...) {
    const annuli::cli::Ending ending =
        annuli::cli::ending_of(std::current_exception());
    return fail(ending.status, ending.text, ending.of_another);
  }
}

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "annuli/checkpoint/lineage.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/usage_error.h"
#include "annuli/core/error.h"
#include "annuli/core/memory.h"
#include "annuli/kernels/caching_allocator.h"
#include "annuli/kernels/threads.h"

namespace {

// What the exit status says.
constexpr int kDone = 0;
constexpr int kCheckFailed = 1;
constexpr int kInputWrong = 2;
constexpr int kBug = 3;

// An error is one line, whatever a library put into its text.
int fail(int status, std::string text) {
  std::fflush(stdout);
  std::ranges::replace(text, '\n', ' ');
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
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of all verbs");
  app.set_version_flag("--version", version());
  app.footer("annuli VERB --help shows a verb's options and an example.");
  annuli::cli::add_run_command(app);
  annuli::cli::add_grow_command(app);
  annuli::cli::add_export_command(app);
  annuli::cli::add_verify_command(app);
  annuli::cli::add_inspect_command(app);
  annuli::cli::add_evaluate_command(app);
  annuli::cli::add_generate_command(app);
  annuli::cli::add_tokenize_command(app);
  annuli::cli::add_env_command(app);
  for (CLI::App* verb : app.get_subcommands(nullptr)) verb->group("Verbs");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail(kInputWrong, annuli::cli::usage_error(app, error));
  }
  if (std::fflush(stdout) != 0) {
    return fail(kInputWrong, std::string("writing to standard output: ") +
                                 std::strerror(errno));
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  // A file that grows beyond a limit is an error of writing, not the end.
  std::signal(SIGXFSZ, SIG_IGN);
  annuli::tune_malloc();
  annuli::kernels::use_caching_allocator();
  annuli::kernels::set_num_threads(
      static_cast<int>(std::thread::hardware_concurrency()));
  try {
    return run_verb(argc, argv);
  } catch (const annuli::VerdictError& error) {
    return fail(kCheckFailed, error.what());
  } catch (const annuli::UserError& error) {
    return fail(kInputWrong, error.what());
  } catch (const std::bad_alloc&) {
    return fail(kInputWrong, "out of memory; try a smaller batch_size");
  } catch (const c10::Error& error) {
    return fail(kBug, std::string("a bug, or the machine: ") +
                          error.what_without_backtrace());
  } catch (const std::exception& error) {
    return fail(kBug, std::string("a bug: ") + error.what());
  }
}

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include "annuli/cli/commands.h"
#include "annuli/core/error.h"
#include "annuli/core/memory.h"
#include "annuli/kernels/threads.h"

namespace {

// What the exit status says.
constexpr int kDone = 0;
constexpr int kCheckFailed = 1;
constexpr int kInputWrong = 2;
constexpr int kBug = 3;

int fail(int status, const std::string& text) {
  std::fflush(stdout);
  fmt::print(stderr, "annuli: {}\n", text);
  return status;
}

int run_verb(int argc, char** argv) {
  CLI::App app{"Annuli grows language models while they train."};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of all verbs");
  annuli::cli::add_run_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail(kInputWrong, std::string(error.what()) +
                                 "; see annuli --help, or annuli VERB --help");
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  annuli::tune_malloc();
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

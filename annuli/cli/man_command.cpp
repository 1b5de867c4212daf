#include <fmt/core.h>

#include "annuli/cli/command_list.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/man_page.h"

namespace annuli::cli {

void add_man_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "man",
      "Print the manual's page: every verb with its options and "
      "examples");
  command->footer("Examples:\n  annuli man | man -l -");
  command->callback([&app] { fmt::print("{}", man_page(command_list(app))); });
}

}  // namespace annuli::cli

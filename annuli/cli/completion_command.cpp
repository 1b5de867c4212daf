#include <fmt/core.h>

#include <memory>
#include <string>

#include "annuli/cli/command_list.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/shell_completion.h"

namespace annuli::cli {

void add_completion_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("completion",
                         "Print the script by which a shell completes annuli's "
                         "words");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "The shell that reads it")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->footer(
      "Examples:\n  source <(annuli completion bash)\n"
      "  annuli completion zsh > ~/.zfunc/_annuli");
  command->callback([&app, shell] {
    const Json commands = command_list(app);
    fmt::print("{}", *shell == "bash" ? bash_completion(commands)
                                      : zsh_completion(commands));
  });
}

}  // namespace annuli::cli

#include "annuli/cli/border_options.h"

namespace annuli::cli {

void add_border_choice(CLI::App& command, BorderChoice& choice) {
  command.add_option("--begin-token", choice.begin_token,
                     "Token put before each text: its text, its id, or none "
                     "(default: as the tokenizer's files say)");
  command.add_option(
      "--end-token", choice.end_token,
      "Token put after each document, at which generated text ends: its text, "
      "its id, or none (default: as the tokenizer's files say)");
}

void add_split_at(CLI::App& command, std::string& split_at) {
  command.add_option("--split-at", split_at,
                     "A document ends where the text spells this, for example "
                     "'<|endoftext|>'");
}

}  // namespace annuli::cli

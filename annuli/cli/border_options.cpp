#include "annuli/cli/border_options.h"

namespace annuli::cli {

void add_border_choice(CLI::App& command, BorderChoice& choice) {
  command.add_option("--begin-token", choice.begin_token,
                     "Put before each text: a token, its id, or none (default: "
                     "as the tokenizer's files say)");
  command.add_option("--end-token", choice.end_token,
                     "Ends a document, and stops generation: a token, its id, "
                     "or none (default: as the tokenizer's files say)");
}

void add_split_at(CLI::App& command, std::string& split_at) {
  command.add_option("--split-at", split_at,
                     "Where the text spells this, a document ends: "
                     "'<|endoftext|>'");
}

}  // namespace annuli::cli

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

// What the program's help says, as data: the manual and the scripts that
// complete words in a shell are made of it, so that none of them can differ.
namespace annuli::cli {

struct Flag {
  std::vector<std::string> names;    // "-h", "--help"; a positional's own name
  std::string value;                 // "TEXT", "zero|keep"; empty: a switch
  std::string fallback;              // the default, where the help shows one
  std::vector<std::string> choices;  // all words that the value may be, if few
  std::string help;
  bool is_required = false;
};

struct Command {
  std::string name;  // "annuli grow deepen"
  std::string about;
  std::vector<Flag> positionals;
  std::vector<Flag> flags;
  std::string examples;  // as below the help
  std::vector<Command> commands;

  std::string last_word() const;
};

Command command_tree(const CLI::App& app);

}  // namespace annuli::cli

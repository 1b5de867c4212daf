#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "annuli/core/json.h"

// Every verb with its arguments and options, for programs that call this one:
// what `annuli --commands` prints, and what the Python module is made of.
namespace annuli::cli {

// {"annuli": "0.1.0", "torch": "2.11.0", "options": [VALUE, ...], "verbs":
// [VERB, ...]}, where a VERB is {"name", "help", "footer", "arguments": [VALUE,
// ...], "options": [VALUE, ...], "verbs": [VERB, ...]} and a VALUE {"name",
// "help", "type"} with
//
//   type      flag, text, integer, number or word
//   words     those that a word is one of
//   value     of a flag: what may follow it after =
//   default   as text; left out where help says what it is
//   required  true, or left out like all that follow
//   many      several values: the option is repeated
//   joined    several values, of one option, with commas between them
//   none      the word none stands for no value
//
// The flags for help, which the program and all verbs have, are left out.
Json command_list(const CLI::App& app);

// A text of a VERB or VALUE that each of them has: its name, help, type.
inline std::string text_of(const Json& json, const char* key) {
  return json.at(key).get<std::string>();
}

}  // namespace annuli::cli

#include "annuli/cli/shell_completion.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "annuli/cli/command_list.h"

namespace annuli::cli {
namespace {

using Words = std::vector<std::string>;

std::string flag_of(const Json& option) {
  return "--" + text_of(option, "name");
}

Words words_of(const Json& option) { return option.value("words", Words()); }

// `visit` gets "annuli grow deepen" and the verb, from the outermost in.
template <typename Visit>
void for_each_verb(const std::string& path, const Json& verb, Visit&& visit) {
  visit(path, verb);
  for (const Json& inner : verb.at("verbs")) {
    for_each_verb(path + " " + text_of(inner, "name"), inner, visit);
  }
}

// The program as a verb.
Json program_of(const Json& commands) {
  return {{"name", "annuli"},
          {"options", commands.at("options")},
          {"verbs", commands.at("verbs")}};
}

std::string bash_flags(const std::string& path, const Json& verb) {
  Words flags = {"--help"};
  Words verbs;
  for (const Json& option : verb.at("options"))
    flags.push_back(flag_of(option));
  for (const Json& inner : verb.at("verbs")) {
    verbs.push_back(text_of(inner, "name"));
  }
  return fmt::format("    '{}') flags='{}' verbs='{}' ;;\n", path,
                     fmt::join(flags, " "), fmt::join(verbs, " "));
}

std::string bash_choices(const std::string& path, const Json& verb) {
  std::string lines;
  for (const Json& option : verb.at("options")) {
    const Words words = words_of(option);
    if (words.empty()) continue;
    lines += fmt::format("    '{} {}') choices='{}' ;;\n", path,
                         flag_of(option), fmt::join(words, " "));
  }
  return lines;
}

// Within single quotes, within the brackets or the list of a specification.
std::string zsh_text(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
      continue;
    }
    if (c == '[' || c == ']' || c == ':' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted;
}

std::string zsh_flag(const Json& option) {
  const Words words = words_of(option);
  const std::string value =
      option.at("type") == "flag" ? ""
      : words.empty()             ? ":value:_files"
                      : fmt::format(":value:({})", fmt::join(words, " "));
  // `*`: where the program takes a list, a flag is given more than once.
  return fmt::format(" \\\n    '*{}[{}]{}'", flag_of(option),
                     zsh_text(text_of(option, "help")), value);
}

std::string function_name(std::string path) {
  std::ranges::replace(path, ' ', '_');
  std::ranges::replace(path, '-', '_');
  return "_" + path;
}

std::string zsh_function(const std::string& path, const Json& verb) {
  std::string flags = " \\\n    '--help[Print help and exit]'";
  for (const Json& option : verb.at("options")) flags += zsh_flag(option);
  std::string text = function_name(path) + "() {\n";
  if (verb.at("verbs").empty()) {
    return text +
           fmt::format("  _arguments -s :{} \\\n    '*:file:_files'\n}}\n",
                       flags);
  }
  std::string verbs;
  std::string cases;
  for (const Json& inner : verb.at("verbs")) {
    const std::string name = text_of(inner, "name");
    verbs +=
        fmt::format("\n    '{}:{}'", name, zsh_text(text_of(inner, "help")));
    cases += fmt::format("        {}) {} ;;\n", name,
                         function_name(path + " " + name));
  }
  return text + fmt::format(
                    "  local context state state_descr line\n"
                    "  typeset -A opt_args\n"
                    "  local -a verbs=({}\n  )\n"
                    "  _arguments -C :{} \\\n"
                    "    '1: :->verb' '*:: :->rest'\n"
                    "  case $state in\n"
                    "    verb) _describe verb verbs ;;\n"
                    "    rest)\n      case $words[1] in\n{}      esac ;;\n"
                    "  esac\n}}\n",
                    verbs, flags, cases);
}

constexpr const char* kBash = R"(# Completion of annuli for bash.
_annuli() {{
  local here='annuli' word flags verbs choices=''
  local current=${{COMP_WORDS[COMP_CWORD]}}
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$here $word" in
      {}) here+=" $word" ;;
    esac
  done
  case "$here ${{COMP_WORDS[COMP_CWORD-1]}}" in
{}  esac
  case $here in
{}  esac
  if [[ -n $choices ]]; then verbs=$choices
  elif [[ $current == -* ]]; then verbs=$flags
  fi
  COMPREPLY=($(compgen -W "$verbs" -- "$current"))
}}
complete -o default -o bashdefault -F _annuli annuli
)";

constexpr const char* kZsh = R"(#compdef annuli
# Completion of annuli for zsh: a file _annuli in $fpath, or sourced after
# compinit.

{}
if [[ $funcstack[1] == _annuli ]]; then
  _annuli "$@"
else
  compdef _annuli annuli
fi
)";

}  // namespace

std::string bash_completion(const Json& commands) {
  Words paths;
  std::string flags;
  std::string choices;
  for_each_verb("annuli", program_of(commands),
                [&](const std::string& path, const Json& verb) {
                  if (path != "annuli") paths.push_back("'" + path + "'");
                  flags += bash_flags(path, verb);
                  choices += bash_choices(path, verb);
                });
  return fmt::format(kBash, fmt::join(paths, "|"), choices, flags);
}

std::string zsh_completion(const Json& commands) {
  std::string functions;
  for_each_verb("annuli", program_of(commands),
                [&](const std::string& path, const Json& verb) {
                  functions += zsh_function(path, verb);
                });
  return fmt::format(kZsh, functions);
}

}  // namespace annuli::cli

#include "annuli/cli/shell_completion.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace annuli::cli {
namespace {

std::string with_underscores(std::string name) {
  std::ranges::replace(name, ' ', '_');
  std::ranges::replace(name, '-', '_');
  return "_" + name;
}

std::vector<std::string> names_of(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.last_word());
  return names;
}

// A line of a `case` for each command, from the outermost in.
void add_bash_flags(const Command& command, std::string& text) {
  std::vector<std::string> words;
  for (const Flag& flag : command.flags) {
    words.insert(words.end(), flag.names.begin(), flag.names.end());
  }
  text += fmt::format("    '{}') flags='{}' verbs='{}' ;;\n", command.name,
                      fmt::join(words, " "),
                      fmt::join(names_of(command.commands), " "));
  for (const Command& inner : command.commands) add_bash_flags(inner, text);
}

void add_bash_choices(const Command& command, std::string& text) {
  for (const Flag& flag : command.flags) {
    if (flag.choices.empty()) continue;
    for (const std::string& name : flag.names) {
      text += fmt::format("    '{} {}') choices='{}' ;;\n", command.name, name,
                          fmt::join(flag.choices, " "));
    }
  }
  for (const Command& inner : command.commands) add_bash_choices(inner, text);
}

void add_bash_paths(const Command& command, std::vector<std::string>& paths) {
  for (const Command& inner : command.commands) {
    paths.push_back(fmt::format("'{}'", inner.name));
    add_bash_paths(inner, paths);
  }
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

std::string zsh_flag(const Flag& flag) {
  const std::string value =
      flag.value.empty() ? ""
      : flag.choices.empty()
          ? ":value:_files"
          : fmt::format(":value:({})", fmt::join(flag.choices, " "));
  std::string text;
  for (const std::string& name : flag.names) {
    // `*`: a flag may be given more than once where the program takes a list.
    text +=
        fmt::format(" \\\n    '*{}[{}]{}'", name, zsh_text(flag.help), value);
  }
  return text;
}

void add_zsh_function(const Command& command, std::string& text) {
  for (const Command& inner : command.commands) add_zsh_function(inner, text);
  text += fmt::format("{}() {{\n", with_underscores(command.name));
  std::string flags;
  for (const Flag& flag : command.flags) flags += zsh_flag(flag);
  if (command.commands.empty()) {
    text += fmt::format("  _arguments -s :{} \\\n    '*:file:_files'\n}}\n\n",
                        flags);
    return;
  }
  std::string verbs;
  std::string cases;
  for (const Command& inner : command.commands) {
    verbs +=
        fmt::format("\n    '{}:{}'", inner.last_word(), zsh_text(inner.about));
    cases += fmt::format("        {}) {} ;;\n", inner.last_word(),
                         with_underscores(inner.name));
  }
  text += fmt::format(
      "  local context state state_descr line\n"
      "  typeset -A opt_args\n"
      "  local -a verbs=({}\n  )\n"
      "  _arguments -C :{} \\\n    '1: :->verb' '*:: :->rest'\n"
      "  case $state in\n"
      "    verb) _describe verb verbs ;;\n"
      "    rest)\n      case $words[1] in\n{}      esac ;;\n"
      "  esac\n}}\n\n",
      verbs, flags, cases);
}

}  // namespace

std::string bash_completion(const Command& program) {
  const std::string function = with_underscores(program.name);
  std::vector<std::string> paths;
  add_bash_paths(program, paths);
  std::string flags;
  add_bash_flags(program, flags);
  std::string choices;
  add_bash_choices(program, choices);
  return fmt::format(
      "# Completion of {0} for bash.\n"
      "{1}() {{\n"
      "  local here='{0}' word flags verbs choices=''\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}}\n"
      "  for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n"
      "    case \"$here $word\" in\n"
      "      {2}) here+=\" $word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$here ${{COMP_WORDS[COMP_CWORD-1]}}\" in\n"
      "{3}"
      "  esac\n"
      "  case $here in\n"
      "{4}"
      "  esac\n"
      "  if [[ -n $choices ]]; then verbs=$choices\n"
      "  elif [[ $current == -* ]]; then verbs=$flags\n"
      "  fi\n"
      "  COMPREPLY=($(compgen -W \"$verbs\" -- \"$current\"))\n"
      "}}\n"
      "complete -o default -o bashdefault -F {1} {0}\n",
      program.name, function, fmt::join(paths, "|"), choices, flags);
}

std::string zsh_completion(const Command& program) {
  std::string text = fmt::format(
      "#compdef {0}\n# Completion of {0} for zsh: a file {1} in $fpath, or "
      "sourced after compinit.\n\n",
      program.name, with_underscores(program.name));
  add_zsh_function(program, text);
  return text + fmt::format(
                    "if [[ $funcstack[1] == {1} ]]; then\n"
                    "  {1} \"$@\"\n"
                    "else\n"
                    "  compdef {1} {0}\n"
                    "fi\n",
                    program.name, with_underscores(program.name));
}

}  // namespace annuli::cli

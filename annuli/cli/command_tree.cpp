#include "annuli/cli/command_tree.h"

#include <sstream>

namespace annuli::cli {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, at);) words.push_back(word);
  return words;
}

// "TEXT:{f32,f64}" of a validator, "zero|keep" of a field.
std::vector<std::string> choices_of(const std::string& value) {
  const size_t begin = value.find(":{");
  if (begin != std::string::npos && value.ends_with('}')) {
    return split(value.substr(begin + 2, value.size() - begin - 3), ',');
  }
  if (value.find('|') == std::string::npos ||
      value.find(' ') != std::string::npos) {
    return {};
  }
  return split(value, '|');
}

Flag flag_of(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_snames()) {
    flag.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    flag.names.push_back("--" + name);
  }
  if (flag.names.empty()) flag.names.push_back(option.get_name(true));
  if (option.get_type_size() != 0) {
    flag.value = option.get_type_name();
    flag.fallback = option.get_default_str();
  }
  flag.choices = choices_of(flag.value);
  if (const size_t end = flag.value.find(":{"); end != std::string::npos) {
    flag.value.resize(end);
  }
  flag.help = option.get_description();
  flag.is_required = option.get_required();
  return flag;
}

Command command_of(const CLI::App& app, const std::string& before) {
  Command command;
  command.name = before + app.get_name();
  command.about = app.get_description();
  command.examples = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    (option->nonpositional() ? command.flags : command.positionals)
        .push_back(flag_of(*option));
  }
  for (const CLI::App* verb : app.get_subcommands(nullptr)) {
    command.commands.push_back(command_of(*verb, command.name + " "));
  }
  return command;
}

}  // namespace

std::string Command::last_word() const {
  return name.substr(name.rfind(' ') + 1);  // all of it without a space
}

Command command_tree(const CLI::App& app) { return command_of(app, ""); }

}  // namespace annuli::cli

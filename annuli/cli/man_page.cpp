#include "annuli/cli/man_page.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

namespace annuli::cli {
namespace {

// Text as it is: a backslash and a dash have meanings of their own, and so has
// a dot or an apostrophe that begins a line.
std::string roff(const std::string& text) {
  std::string escaped;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) escaped += "\\&";
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
    begins = c == '\n';
  }
  return escaped;
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) {
    return static_cast<char>(std::toupper(c));
  });
  return text;
}

void add_flag(const Flag& flag, std::string& page) {
  std::string names;
  for (const std::string& name : flag.names) {
    names += fmt::format("{}\\fB{}\\fP", names.empty() ? "" : ", ", roff(name));
  }
  page += fmt::format(".TP\n{}", names);
  if (!flag.value.empty()) page += fmt::format(" \\fI{}\\fP", roff(flag.value));
  page += fmt::format("\n{}\n", roff(flag.help));
  if (!flag.choices.empty() && flag.value.find('|') == std::string::npos) {
    std::string words;
    for (const std::string& choice : flag.choices) {
      words += (words.empty() ? "" : ", ") + roff(choice);
    }
    page += fmt::format("One of {}.\n", words);
  }
  if (!flag.fallback.empty()) {
    page += fmt::format("Default: {}.\n", roff(flag.fallback));
  }
}

// "annuli export [OPTIONS] source".
std::string usage(const Command& command) {
  std::string line = fmt::format("\\fB{}\\fP", roff(command.name));
  if (!command.commands.empty()) return line + " \\fIVERB\\fP ...";
  line += " [\\fIoptions\\fP]";
  for (const Flag& argument : command.positionals) {
    const std::string name =
        fmt::format("\\fI{}\\fP", roff(argument.names.at(0)));
    line += argument.is_required ? " " + name : fmt::format(" [{}]", name);
  }
  return line;
}

void add_examples(const std::string& footer, std::string& page) {
  if (footer.empty()) return;
  page += fmt::format(".PP\n.nf\n{}\n.fi\n", roff(footer));
}

void add_command(const Command& command, std::string& page) {
  page += fmt::format(".SS {}\n{}\n.PP\n{}.\n", roff(command.name),
                      usage(command), roff(command.about));
  for (const auto* flags : {&command.positionals, &command.flags}) {
    for (const Flag& flag : *flags) add_flag(flag, page);
  }
  add_examples(command.examples, page);
  for (const Command& inner : command.commands) add_command(inner, page);
}

constexpr const char* kStatus = R"(.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
A check of the model failed.
.TP
.B 2
The input is wrong, or the machine lacks something; standard error has one line.
.TP
.B 3
A fault of the program.
.TP
.B 128 + N
Stopped by signal N.
.SH ENVIRONMENT
.TP
.B HF_HUB_CACHE, HF_HOME
Where models that are named by an id are looked for.
.TP
.B NO_COLOR
With any value: no colors.
.TP
.B TMPDIR
Folder for files that are gone at the end.
)";

}  // namespace

std::string man_page(const Command& program, const std::string& version) {
  std::string page = fmt::format(
      ".TH {} 1 \"\" \"{}\"\n.SH NAME\n{} \\- grows language models while "
      "they train\n.SH SYNOPSIS\n.B {}\n.I VERB\n.RI [ options ]\n"
      ".SH DESCRIPTION\n{}\n.SH OPTIONS\n",
      upper(program.name), version, program.name, program.name,
      roff(program.about));
  for (const Flag& flag : program.flags) add_flag(flag, page);
  page += ".SH VERBS\n";
  for (const Command& verb : program.commands) add_command(verb, page);
  return page + kStatus;
}

}  // namespace annuli::cli

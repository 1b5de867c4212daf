#include "annuli/cli/man_page.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <vector>

#include "annuli/cli/command_list.h"

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

// "\\fB--dtype\\fP \\fIf32|f64\\fP".
std::string name_of(const Json& value, bool is_option) {
  const std::string name = roff(text_of(value, "name"));
  if (!is_option) return "\\fI" + name + "\\fP";
  std::string type = text_of(value, "type");
  if (const auto words = value.find("words"); words != value.end()) {
    type = fmt::format("{}",
                       fmt::join(words->get<std::vector<std::string>>(), "|"));
  }
  const std::string flag = "\\fB\\-\\-" + name + "\\fP";
  return type == "flag" ? flag : fmt::format("{} \\fI{}\\fP", flag, roff(type));
}

void add_value(const Json& value, bool is_option, std::string& page) {
  page += fmt::format(".TP\n{}\n{}\n", name_of(value, is_option),
                      roff(text_of(value, "help")));
  if (value.contains("default")) {
    page += fmt::format("Default: {}.\n", roff(text_of(value, "default")));
  }
}

// "annuli export [options] source".
std::string usage(const std::string& path, const Json& verb) {
  std::string line = fmt::format("\\fB{}\\fP", roff(path));
  if (!verb.at("verbs").empty()) return line + " \\fIOPERATOR\\fP ...";
  line += " [\\fIoptions\\fP]";
  for (const Json& argument : verb.at("arguments")) {
    const std::string name = name_of(argument, false);
    line += argument.value("required", false) ? " " + name
                                              : fmt::format(" [{}]", name);
  }
  return line;
}

void add_verb(const std::string& before, const Json& verb, std::string& page) {
  const std::string path = before + " " + text_of(verb, "name");
  page += fmt::format(".SS {}\n{}\n.PP\n{}\n", roff(path), usage(path, verb),
                      roff(text_of(verb, "help")));
  for (const Json& value : verb.at("arguments")) add_value(value, false, page);
  for (const Json& value : verb.at("options")) add_value(value, true, page);
  if (const std::string examples = text_of(verb, "footer"); !examples.empty()) {
    page += fmt::format(".PP\n.nf\n{}\n.fi\n", roff(examples));
  }
  for (const Json& inner : verb.at("verbs")) add_verb(path, inner, page);
}

constexpr const char* kHead = R"(.TH ANNULI 1 "" "annuli {}"
.SH NAME
annuli \- grows language models while they train
.SH SYNOPSIS
.B annuli
.I VERB
.RI [ options ]
.SH DESCRIPTION
Annuli grows language models while they train: dense, mixture of experts, wider,
deeper, trained on after each step, every step with a numeric proof that the new
model computes what it should.
.SH OPTIONS
.TP
.B \-\-help
Print help and exit; after a verb, the verb's.
)";

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

std::string man_page(const Json& commands) {
  std::string page = fmt::format(kHead, text_of(commands, "annuli"));
  for (const Json& value : commands.at("options")) add_value(value, true, page);
  page += ".SH VERBS\n";
  for (const Json& verb : commands.at("verbs")) add_verb("annuli", verb, page);
  return page + kStatus;
}

}  // namespace annuli::cli

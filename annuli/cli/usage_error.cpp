#include "annuli/cli/usage_error.h"

#include <fmt/core.h>

#include <string_view>
#include <vector>

#include "annuli/core/text.h"

namespace annuli::cli {
namespace {

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands(nullptr)) {
    names.push_back(verb->get_name());
  }
  return names;
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

bool is_flag(const std::string& word) {
  return word.size() > 1 && word[0] == '-';
}

// "--out=x" was meant as "--out".
std::string without_value(const std::string& word) {
  return word.substr(0, word.find('='));
}

// What other programs, and a model's config.json, call the options of growth.
struct OtherName {
  std::string_view verb;
  std::string_view begin;  // of a flag, or of what is wrong with its value
  std::string_view instead;
};

constexpr OtherName kOtherNames[] = {
    {"deepen", "--factor", "--add-layers N"},
    {"deepen", "--depth", "--add-layers N"},
    {"deepen", "--layers", "--add-layers N"},
    {"deepen", "--num-layers", "--add-layers N"},
    {"deepen", "--num-hidden-layers", "--add-layers N"},
    {"deepen", "--layer-map: found",
     "--preset WORD with --add-layers N for a pattern of layers"},
    {"widen", "--hidden-size", "--hidden"},
    {"widen", "--width", "--hidden, or --factor"},
    {"widen", "--intermediate-size", "--ffn"},
    {"widen", "--num-attention-heads", "--heads"},
    {"widen", "--num-key-value-heads", "--kv-heads"},
    {"upcycle", "--num-local-experts", "--num-experts"},
    {"upcycle", "--top-k", "--num-experts-per-tok"},
    {"expand-experts", "--num-experts", "--factor"},
    {"expand-experts", "--top-k", "--num-experts-per-tok"},
    {"merge-experts", "--top-k", "--num-experts-per-tok"},
};

std::string instead_of(const CLI::App& app, std::string_view text) {
  for (const OtherName& name : kOtherNames) {
    const bool whole = !name.begin.ends_with("found");
    if (app.get_name() == name.verb &&
        (whole ? text == name.begin : text.starts_with(name.begin))) {
      return fmt::format("; try {}", name.instead);
    }
  }
  return "";
}

std::string unexpected(const CLI::App& app, const std::string& word) {
  if (is_flag(word)) {
    const std::string flag = without_value(word);
    const std::string other = instead_of(app, flag);
    return fmt::format(
        "unknown flag '{}'{}", flag,
        other.empty() ? did_you_mean(flag, flags_of(app)) : other);
  }
  if (!verbs_of(app).empty()) {
    return fmt::format("unknown {} '{}'{}",
                       app.get_parent() == nullptr ? "verb" : "operator", word,
                       did_you_mean(word, verbs_of(app)));
  }
  return fmt::format("unexpected '{}'", word);
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  // The verb, or the operator under it.
  const CLI::App* deepest = &app;
  std::string name = "annuli";
  while (!deepest->get_subcommands().empty()) {
    deepest = deepest->get_subcommands().front();
    name += " " + deepest->get_name();
  }
  const CLI::App& verb = *deepest;
  // A word left over explains more than the requirement that it left unmet.
  std::vector<std::string> extras = app.remaining();
  if (extras.empty()) extras = verb.remaining();
  std::string what = error.what();
  if (!extras.empty()) {
    what = unexpected(chosen.empty() || app.remaining().empty() ? verb : app,
                      extras.front());
  } else if (chosen.empty()) {
    what = "no verb";
  } else {
    what += instead_of(verb, what);
  }
  const char* and_see = what.ends_with('?') ? " See" : "; see";
  return fmt::format("{}: {}{} {} --help", name, what, and_see, name);
}

}  // namespace annuli::cli

#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "annuli/core/wrap.h"

namespace annuli::cli {

// CLI11's help, but for two things: the line of usage where a verb or an
// operator follows, "Usage: annuli VERB ..." (the library has one word for it
// on all levels), and lines that end at column 80.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    if (app->get_subcommands(nullptr).empty()) {
      return CLI::Formatter::make_usage(app, name);
    }
    const bool is_top = app->get_parent() == nullptr;
    return "Usage: " + name + (is_top ? " VERB ...\n" : " OPERATOR ...\n");
  }

  std::string make_description(const CLI::App* app) const override {
    return wrapped(CLI::Formatter::make_description(app), kColumns);
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    return wrapped(CLI::Formatter::make_option_desc(option), text_width());
  }

  std::string make_subcommand(const CLI::App* verb) const override {
    std::ostringstream line;
    CLI::detail::format_help(line, verb->get_display_name(true),
                             wrapped(verb->get_description(), text_width()),
                             get_column_width());
    return line.str();
  }

 private:
  static constexpr size_t kColumns = 80;

  size_t text_width() const { return kColumns - get_column_width(); }
};

}  // namespace annuli::cli

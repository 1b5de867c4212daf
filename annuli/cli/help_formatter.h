#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace annuli::cli {

// CLI11's help, but for the line of usage where a verb or an operator follows:
// "Usage: annuli VERB ..." (the library has one word for it on all levels).
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    if (app->get_subcommands(nullptr).empty()) {
      return CLI::Formatter::make_usage(app, name);
    }
    const bool is_top = app->get_parent() == nullptr;
    return "Usage: " + name + (is_top ? " VERB ...\n" : " OPERATOR ...\n");
  }
};

}  // namespace annuli::cli
